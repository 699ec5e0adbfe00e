"""The observer's process: open orders, Holds, canary, checkpoints and verification of the log."""

import threading
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection

from killswitch.break_glass import upkeep as break_glass
from killswitch.ems.client import EmsClient
from killswitch.holds import enforcement
from killswitch.observer import audit_upkeep, canary
from killswitch.observer.audit_upkeep import AuditUpkeep
from killswitch.observer.open_orders import Observer, record_probe
from killswitch.readiness.models import CANARY_INTERVAL_S
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.periodic import PeriodicTask

LEASE_INTERVAL_S = 1.0
RELEASE_TIMEOUT_S = 0.5

log = structlog.get_logger(__name__)


def observe(stop: threading.Event) -> None:
    """Observe until `stop` is set, and end within a second whatever is going on then.

    Every duty has its own thread: a slow EMS delays neither the lease nor the canary. Raises
    `ImproperlyConfigured` for settings from which no client can be made.
    """
    try:
        observer = Observer(client=EmsClient.from_settings())
    except (ValueError, OSError) as error:
        raise ImproperlyConfigured(f"the EMS client cannot be created: {error}.") from None
    upkeep = AuditUpkeep(is_active=lambda: observer.is_active, stop=stop)

    def keep_lease() -> None:
        heartbeats.beat(Process.OBSERVER)
        observer.keep_lease()

    def read_open_orders() -> None:
        if orders := observer.read():
            record_probe(orders)
            observer.order_lists.write(now=datetime.now(UTC))

    def send_canary() -> None:
        if observer.is_active:
            canary.send()

    def release_lease() -> None:
        try:
            observer.release_lease()
            enforcer.release_lease()
        except Error:  # the next observer takes the lease all the same, only later
            log.warning("lease_not_released")
        else:
            audit_upkeep.try_to_write_checkpoint("OBSERVER_STOPPED")
        finally:
            connection.close()

    for name, work, interval_s in (
        ("lease", keep_lease, LEASE_INTERVAL_S),
        ("open_orders", read_open_orders, settings.OBSERVE_INTERVAL),
        ("canary", send_canary, CANARY_INTERVAL_S),
        ("checkpoint", upkeep.write_checkpoint, audit_upkeep.CHECKPOINT_INTERVAL_S),
        ("verification", upkeep.verify, audit_upkeep.CHECK_INTERVAL_S),
    ):
        PeriodicTask(name=name, work=work, interval_s=interval_s).start_thread(stop)
    break_glass.start_threads(stop)
    enforcer = enforcement.start_threads(stop)
    stop.wait()
    release = threading.Thread(target=release_lease, daemon=True)
    release.start()
    release.join(RELEASE_TIMEOUT_S)
