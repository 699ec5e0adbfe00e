"""The observer's process: open orders, Holds, canary, upkeep of the log, counts for the metrics."""

import threading
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection

from killswitch.accounts.backends import SessionStore
from killswitch.break_glass import upkeep as break_glass
from killswitch.ems.client import EmsClient
from killswitch.holds import enforcement
from killswitch.observer import audit_upkeep, canary, ems_reach
from killswitch.observer.audit_upkeep import AuditUpkeep
from killswitch.observer.open_orders import Observer
from killswitch.readiness import counters, watch
from killswitch.readiness.models import CANARY_INTERVAL_S
from killswitch.runtime import heartbeats
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.periodic import PeriodicTask

LEASE_INTERVAL_S = 0.5  # between two looks whether it must be renewed; without a query
RELEASE_TIMEOUT_S = 0.5
CLEAR_SESSIONS_INTERVAL_S = 3600.0

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
    next_beat = Deadline(0.0)
    upkeep = AuditUpkeep(is_active=lambda: observer.is_active, stop=stop)

    def keep_lease() -> None:
        """Beat and renew the lease, unless a read has done so; or wait for the lease."""
        nonlocal next_beat
        if not observer.must_renew:
            return
        if next_beat.has_passed:
            heartbeats.beat_without_flush(Process.OBSERVER)
            next_beat = Deadline(heartbeats.INTERVAL_S - LEASE_INTERVAL_S)
        observer.keep_lease()

    def read_open_orders() -> None:
        if observer.read():
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

    for task in (
        PeriodicTask(name="lease", work=keep_lease, interval_s=LEASE_INTERVAL_S),
        PeriodicTask(
            name="open_orders",
            work=read_open_orders,
            interval_s=settings.OBSERVE_INTERVAL,
            keep_connection=True,  # between two reads, not during a call
            is_aligned=True,
        ),
        PeriodicTask(
            name="canary", work=send_canary, interval_s=CANARY_INTERVAL_S, is_aligned=True
        ),
        PeriodicTask(
            name="checkpoint",
            work=upkeep.write_checkpoint,
            interval_s=audit_upkeep.CHECKPOINT_INTERVAL_S,
        ),
        PeriodicTask(
            name="verification", work=upkeep.verify, interval_s=audit_upkeep.CHECK_INTERVAL_S
        ),
        # A session ends by itself, but its row stays: one for each sign-in, for ever.
        PeriodicTask(
            name="sessions",
            work=SessionStore.clear_expired,
            interval_s=CLEAR_SESSIONS_INTERVAL_S,
        ),
        PeriodicTask(name="counters", work=counters.store, interval_s=counters.STORE_INTERVAL_S),
    ):
        task.start_thread(stop)
    break_glass.start_threads(stop)
    ems_reach.start_thread(Process.OBSERVER, stop)
    watch.start_thread(stop)
    enforcer = enforcement.start_threads(stop)
    stop.wait()
    release = threading.Thread(target=release_lease, daemon=True)
    release.start()
    release.join(RELEASE_TIMEOUT_S)
