"""The observer's process: keeps its seat, reads the open orders, sends canaries, keeps the log."""

import threading

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection

from killswitch.ems.client import EmsClient
from killswitch.observer import audit_upkeep, canary, probes
from killswitch.observer.audit_upkeep import AuditUpkeep
from killswitch.observer.open_orders import Observer
from killswitch.readiness.rounds import start_rounds
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process

LEASE_INTERVAL_S = 1.0  # seconds
RELEASE_TIMEOUT_S = 0.5  # seconds that giving up the seat may take

log = structlog.get_logger(__name__)


def observe(stop: threading.Event) -> None:
    """Observe until `stop` is set, and leave within a second whatever is going on then.

    Every duty has a thread: a slow EMS delays neither the seat nor the canary. Raises
    `ImproperlyConfigured` for settings that no client can be made of.
    """
    try:
        observer = Observer(client=EmsClient.from_settings())
    except (ValueError, OSError) as error:
        raise ImproperlyConfigured(f"no client for the EMS can be made: {error}.") from None
    start_rounds(name="seat", do=lambda: _hold(observer), every=LEASE_INTERVAL_S, stop=stop)
    start_rounds(
        name="look", do=lambda: _look(observer), every=settings.OBSERVE_INTERVAL, stop=stop
    )
    start_rounds(
        name="canary", do=lambda: _canary(observer), every=canary.CANARY_INTERVAL_S, stop=stop
    )
    keeper = AuditUpkeep(is_active=lambda: observer.is_active, stop=stop)
    start_rounds(
        name="checkpoint",
        do=keeper.write_checkpoint,
        every=audit_upkeep.CHECKPOINT_INTERVAL_S,
        stop=stop,
    )
    start_rounds(name="verify", do=keeper.verify, every=audit_upkeep.CHECK_INTERVAL_S, stop=stop)
    stop.wait()
    farewell = threading.Thread(target=_leave, args=[observer], daemon=True)
    farewell.start()
    farewell.join(RELEASE_TIMEOUT_S)


def _hold(observer: Observer) -> None:
    heartbeats.beat(Process.OBSERVER)
    observer.keep_lease()


def _look(observer: Observer) -> None:
    if orders := observer.read():
        probes.record_ems(orders)


def _canary(observer: Observer) -> None:
    if observer.is_active:
        canary.send()


def _leave(observer: Observer) -> None:
    try:
        observer.release_lease()
    except Error:  # the next observer takes the seat without being asked, only later
        log.warning("seat_not_released")
    else:
        audit_upkeep.write_checkpoint("OBSERVER_STOPPED")
    finally:
        connection.close()
