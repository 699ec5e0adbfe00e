"""Enforces all Holds: reads the lists of held exchanges, and begins an episode where one is due.

It runs in the watchdog and in the observer, on every host; one process at a time holds the lease.
The episodes are requests like any other, so they go on when this process dies, and so does the
enforcement: another process takes the lease within seconds. No broker is needed.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from math import inf

import structlog
from django.conf import settings
from django.db import Error
from django.db.models.functions import Now

from killswitch.alarms.messages import Message
from killswitch.alarms.outbox import send_to_all_channels
from killswitch.audit.recorder import recording
from killswitch.cancels import execution, watchdog
from killswitch.cancels.models import Origin
from killswitch.cancels.watchdog import StallDetector
from killswitch.holds import hold_alarms
from killswitch.holds.episode import MAX_CALL_S
from killswitch.holds.list_reader import ListReader, Lists
from killswitch.holds.models import LASTING_AFTER, Enforcement, Hold
from killswitch.holds.recording import (
    Sighting,
    begin_episodes,
    record_quiet,
)
from killswitch.holds.services import lapse_overdue_releases
from killswitch.holds.sight import record_blind, record_reads, record_sight
from killswitch.holds.snapshots import HoldSnapshot, snapshots
from killswitch.runtime.changes import LOOK_INTERVAL_S, ChangeGate
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.kept_connections import release_connection
from killswitch.runtime.leases import RowLease, StillnessTracker
from killswitch.runtime.periodic import PeriodicTask
from killswitch.runtime.text import error_line

LEASE_INTERVAL_S = 0.5
LEASE_STALE_AFTER_S = 2.5
CHECK_INTERVAL_S = 0.25
BLIND_AFTER_S = 5.0
SEES_AGAIN_AFTER_S = 5.0  # of lists that could be read
# For which the press that started a Hold is left to cancel what was open before.
PRESS_GRACE_S = 3.0
REMINDER_INTERVAL = timedelta(hours=4)
REMINDER_CHECK_S = 10.0
UPKEEP_INTERVAL_S = 1.0
NOT_ENFORCED_AFTER_S = 5.0
# A process whose reads take longer than this is stuck, and must not keep the lease.
MAX_ROUND_S = 4 * MAX_CALL_S
RETRY_AFTER_ERROR_S = 2.0

log = structlog.get_logger(__name__)


class Enforcer:
    """The enforcement of one process: active while this process holds the lease."""

    def __init__(
        self,
        *,
        lease: RowLease | None = None,
        blind_after_s: float = BLIND_AFTER_S,
        trading_after_s: float = LASTING_AFTER.total_seconds(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease = lease or RowLease(
            Enforcement.objects, stale_after_s=LEASE_STALE_AFTER_S, clock=clock
        )
        self._clock = clock
        self._blind_after_s = blind_after_s
        self._trading_after_s = trading_after_s
        self._unread = StillnessTracker[int]()
        self._held = StillnessTracker[int]()
        self._sight = StillnessTracker[int]()
        self._episodes = StallDetector()
        self._round_began_at: float | None = None
        self._lists = ListReader()
        self._failures: dict[int, tuple[float, str]] = {}  # to begin an episode: when, and why
        self._held_s: Mapping[int, float] = {}
        self._next_upkeep = Deadline(0.0)
        self._next_reminder = Deadline(0.0)
        # For the day on which the database is gone: what was being enforced, and since when.
        self._enforced: list[str] = []
        self._enforced_at = clock()
        self._has_notified = False
        self._alarmed: set[tuple[int, datetime | None]] = set()
        self.has_holds = False
        self.is_active = False

    def keep_lease(self) -> bool:
        """Keep or take the lease while there is a Hold, and leave it to others when stuck."""
        self.has_holds = Hold.objects.active().exists()
        if not self.has_holds:
            self.release_lease()
            self._enforced = []
            return False
        began_at = self._round_began_at
        if began_at is not None and self._clock() - began_at > MAX_ROUND_S:
            if self.is_active:
                log.error("hold_enforcement_is_stuck")
                self.release_lease()
            return False
        self.is_active = self._lease.hold()
        self._enforced_at, self._has_notified = self._clock(), False
        return self.is_active

    def release_lease(self) -> None:
        if self.is_active:
            self.is_active = False
            self._lease.release()

    def read(self) -> None:
        """Read the lists of the held exchanges, and begin an episode where orders are listed.

        One with an episode in flight reads its own list. Each answer is dealt with when it comes: a
        list that hangs delays no other one. Returns after `HOLD_INTERVAL` at the latest.
        """
        if not self.is_active:
            # What comes while another process enforces is out of date later.
            self._lists.take(timeout_s=0)
            return
        self._round_began_at = self._clock()
        try:
            holds = snapshots()
            now = self._clock()
            self._held_s = self._held.observe(dict.fromkeys(hold.id for hold in holds), now=now)
            release_connection()
            self._lists.request([hold for hold in holds if not hold.has_episode])
            deadline = Deadline(settings.HOLD_INTERVAL)
            while self.is_active and self._lists.is_waiting and not deadline.has_passed:
                release_connection()  # none is held while the EMS is being waited for
                lists = self._lists.take(timeout_s=deadline.seconds_left)
                if lists and not self._lease.fence():
                    self.is_active = False
                elif lists:
                    self._record_lists(lists)
        finally:
            self._round_began_at = None

    def _record_lists(self, lists: Lists) -> None:
        sightings = []
        for hold, orders in lists.values():
            count = orders.count(hold.exchange_id)
            is_left_to_press = hold.has_press and self._held_s.get(hold.id, 0.0) < PRESS_GRACE_S
            if count and not (is_left_to_press or hold.is_paused):
                listed = orders.first_orders(hold.exchange_id)
                symbols = dict.fromkeys(order.symbol for order in listed if order.symbol)
                sightings.append(Sighting(hold_id=hold.id, orders=count, symbols=list(symbols)))
        failed = self._begin_episodes(sightings)
        # One that has orders and no episode must become blind, which is an alarm.
        record_reads(
            [pk for pk, (_, orders) in lists.items() if orders.readable and pk not in failed],
            errors={
                pk: failed.get(pk) or orders.error
                for pk, (_, orders) in lists.items()
                if pk in failed or not orders.readable
            },
        )

    def _begin_episodes(self, sightings: Sequence[Sighting]) -> dict[int, str]:
        """Begin episodes, all at once if possible; return why which of them could not be begun."""
        failures: dict[int, str] = {}
        due = []
        for sighting in sightings:
            failed_at, reason = self._failures.get(sighting.hold_id, (-inf, ""))
            if self._clock() - failed_at < RETRY_AFTER_ERROR_S:
                failures[sighting.hold_id] = reason
            else:
                due.append(sighting)
        if not due:
            return failures
        try:
            ids = begin_episodes(due)
        except Error as error:
            if len(due) > 1:
                for sighting in due:
                    failures |= self._begin_episodes([sighting])
                return failures
            pk, reason = due[0].hold_id, f"no cancel could be recorded: {error_line(error)}"
            log.exception("hold_episode_not_begun", hold=pk)
            self._failures[pk] = (self._clock(), reason)
            return {**failures, pk: reason}
        if ids:
            log.warning("hold_episodes", requests=ids)
            # Without a free thread here, a watchdog claims them.
            execution.run(ids=ids)
        return failures

    def check(self) -> None:
        """Find blind Holds and trading that goes on; end requests to release that have lapsed."""
        try:
            self._check()
        except Error:
            self._notify_if_not_enforced()
            raise

    def _check(self) -> None:
        if not self.has_holds:
            return
        now = self._clock()
        # Also while another process enforces, whose episodes may die with it.
        findings = self._episodes.inspect(watchdog.snapshots(batch__origin=Origin.HOLD), now=now)
        if not self.is_active:
            self._enforced = []
            return
        # As a watchdog does, so that the observer alone is enough.
        if findings.unclaimed:
            execution.run(ids=findings.unclaimed)
        execution.take_over_abandoned(findings.abandoned)
        holds = snapshots()
        self._enforced = [hold.exchange_id for hold in holds]
        failure = self._check_holds(holds, now=now)
        if self._next_upkeep.has_passed:
            self._next_upkeep = Deadline(UPKEEP_INTERVAL_S)
            lapse_overdue_releases()
            for hold in holds:
                if hold.is_blind:  # once the last alarm is acknowledged, if it still is
                    with recording():
                        hold_alarms.raise_blind_alarm(Hold.objects.get(pk=hold.id))
        if self._next_reminder.has_passed:
            self._next_reminder = Deadline(REMINDER_CHECK_S)
            remind_if_due()
        if failure is not None:
            raise failure

    def _check_holds(self, holds: Sequence[HoldSnapshot], *, now: float) -> Error | None:
        """Find what is due for each Hold; return the last error, after all of them."""
        unread_s = self._unread.observe({hold.id: hold.last_read_at for hold in holds}, now=now)
        is_unread = {hold.id: unread_s[hold.id] >= self._blind_after_s for hold in holds}
        unchanged_s = self._sight.observe(is_unread, now=now)
        blind: list[Sighting] = []
        failure: Error | None = None
        for hold in holds:
            try:
                if is_unread[hold.id]:
                    if not (hold.has_episode or hold.is_paused):
                        blind.append(Sighting(hold_id=hold.id))
                    if not hold.is_blind:
                        record_blind(hold.id)
                elif hold.is_blind and unchanged_s[hold.id] >= SEES_AGAIN_AFTER_S:
                    record_sight(hold.id)
                self._check_orders(hold)
            except Error as error:  # the other Holds must not wait for this one
                log.warning("hold_not_checked", hold=hold.id, error=error_line(error))
                failure = error
        self._begin_episodes(blind)
        return failure

    def _check_orders(self, hold: HoldSnapshot) -> None:
        """Raise the alarm of orders that stay or keep coming, once it is allowed to be raised."""
        if hold.is_quiet:
            record_quiet(hold.id)
        run = (hold.id, hold.orders_since)
        if hold.orders_s >= self._trading_after_s and run not in self._alarmed:
            with recording():
                row = Hold.objects.get(pk=hold.id)
                is_raised = hold_alarms.raise_trading_alarm(row, seconds=hold.orders_s)
            if is_raised:
                self._alarmed.add(run)

    def _notify_if_not_enforced(self) -> None:
        """Tell people directly: without the database, no alarm can be raised."""
        gone_s = self._clock() - self._enforced_at
        if not self._enforced or self._has_notified or gone_s < NOT_ENFORCED_AFTER_S:
            return
        self._has_notified = True
        names = ", ".join(self._enforced)
        send_to_all_channels(
            Message(
                title=f"Hold is not being enforced: {names}."[:200],
                body=(
                    "The database cannot be reached, so no cancel can be recorded and none is sent."
                    f" Held until now: {names}. Cancel at the exchanges themselves."
                ),
            )
        )


def remind_if_due(*, interval: timedelta = REMINDER_INTERVAL) -> None:
    """Raise an alarm when exchanges have been held for another four hours."""
    with recording():
        Enforcement.objects.get_or_create(id=1)
        row = Enforcement.objects.select_for_update().annotate(now=Now()).get(id=1)
        now: datetime = vars(row)["now"]
        holds = list(Hold.objects.active().order_by("started_at"))
        times = [row.reminded_at] if row.reminded_at else []
        if not holds or now - max([holds[0].started_at, *times]) < interval:
            return
        Enforcement.objects.filter(id=1).update(reminded_at=now)
        hold_alarms.raise_reminder(holds, now=now)


def start_threads(stop: threading.Event, *, enforcer: Enforcer | None = None) -> Enforcer:
    """Enforce Holds in this process until `stop` is set."""
    enforcer = enforcer or Enforcer()
    gate = ChangeGate(interval_s=LEASE_INTERVAL_S)

    def keep_lease() -> bool:
        enforcer.keep_lease()
        return not enforcer.has_holds

    tasks = [
        PeriodicTask(
            name="hold_lease",
            work=lambda: gate.run(keep_lease),
            interval_s=LOOK_INTERVAL_S,
            keep_connection=True,
        ),
        PeriodicTask(name="hold_reads", work=enforcer.read, interval_s=settings.HOLD_INTERVAL),
        PeriodicTask(
            name="hold_checks",
            work=enforcer.check,
            interval_s=CHECK_INTERVAL_S,
            keep_connection=True,
        ),
    ]
    for task in tasks:
        task.start_thread(stop)
    return enforcer
