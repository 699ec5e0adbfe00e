"""Enforces all Holds: reads the lists of held exchanges, and begins an episode where one is due.

It runs in the watchdog and in the observer, on every host; one process at a time holds the lease.
The episodes are requests like any other, so they go on when this process dies, and so does the
enforcement: another process takes the lease within seconds. No broker is needed.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from killswitch.alarms.messages import Message
from killswitch.alarms.outbox import send_to_all_channels
from killswitch.audit.recorder import recording
from killswitch.cancels import execution, watchdog
from killswitch.cancels.models import CancelRequest, Origin
from killswitch.cancels.watchdog import StallDetector
from killswitch.ems.client import EmsClient, get_client
from killswitch.ems.one_by_one import read_one_by_one
from killswitch.ems.open_orders import OpenOrders
from killswitch.holds import hold_alarms
from killswitch.holds.episode import MAX_CALL_S
from killswitch.holds.models import Enforcement, Hold
from killswitch.holds.recording import (
    QUIET_S,
    begin_episode,
    record_blind,
    record_quiet,
    record_reads,
    record_sight,
)
from killswitch.holds.services import lapse_overdue_releases
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.leases import RowLease, StillnessTracker
from killswitch.runtime.periodic import PeriodicTask

LEASE_INTERVAL_S = 0.5
LEASE_STALE_AFTER_S = 2.5
CHECK_INTERVAL_S = 0.25
BLIND_AFTER_S = 5.0
SEES_AGAIN_AFTER_S = 5.0  # of lists that could be read
# For which the press that started a Hold is left to cancel what was open before.
PRESS_GRACE_S = 3.0
TRADING_AFTER_S = 30.0
REMINDER_INTERVAL = timedelta(hours=4)
REMINDER_CHECK_S = 10.0
UPKEEP_INTERVAL_S = 1.0
NOT_ENFORCED_AFTER_S = 5.0
# A process whose reads take longer than this is stuck, and must not keep the lease.
MAX_ROUND_S = 4 * MAX_CALL_S
# With more held exchanges, one list of all is read instead of one for each.
MAX_SINGLE_LISTS = 4
SINGLE_LISTS_FOR_S = 30.0  # after a list of all that could not be used
READ_PAUSE_AFTER_429_S = 4.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class HoldSnapshot:
    """An active Hold as one check saw it."""

    id: int
    exchange_id: str
    last_read_at: datetime | None
    is_blind: bool
    has_episode: bool  # one is in flight
    has_press: bool  # the press that started it is in flight
    orders_since: datetime | None  # since when orders have kept coming
    orders_s: float  # until the last one that was seen
    is_paused: bool  # by the EMS
    is_quiet: bool  # orders kept coming, and none was seen for a while


class Enforcer:
    """The enforcement of one process: active while this process holds the lease."""

    def __init__(
        self,
        *,
        client: Callable[[], EmsClient] = get_client,
        lease: RowLease | None = None,
        blind_after_s: float = BLIND_AFTER_S,
        trading_after_s: float = TRADING_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
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
        self._single_lists = Deadline(0.0)
        self._next_read = Deadline(0.0)
        self._next_upkeep = Deadline(0.0)
        self._next_reminder = Deadline(0.0)
        # For the day on which the database is gone: what was being enforced, and since when.
        self._enforced: list[str] = []
        self._enforced_at = clock()
        self._has_notified = False
        self._alarmed: set[tuple[int, datetime | None]] = set()
        self._has_holds = False
        self.is_active = False

    def keep_lease(self) -> bool:
        """Keep or take the lease while there is a Hold, and leave it to others when stuck."""
        self._has_holds = Hold.objects.active().exists()
        if not self._has_holds:
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
        return self.is_active

    def release_lease(self) -> None:
        if self.is_active:
            self.is_active = False
            self._lease.release()

    def read(self) -> None:
        """Read the lists of the held exchanges, and begin an episode where orders are listed.

        One with an episode in flight reads its own list.
        """
        if not self.is_active or not self._next_read.has_passed:
            return
        self._round_began_at = self._clock()
        try:
            self._read()
        finally:
            self._round_began_at = None

    def _read(self) -> None:
        holds = snapshots()
        held_s = self._held.observe(dict.fromkeys(hold.id for hold in holds), now=self._clock())
        idle = [hold for hold in holds if not hold.has_episode]
        if not idle:
            return
        connection.close()  # none is kept while the EMS is being waited for
        lists = self._lists([hold.exchange_id for hold in idle])
        if not self._lease.fence():
            self.is_active = False
            return
        if any(orders.http_status == 429 for orders in lists.values()):
            self._next_read = Deadline(READ_PAUSE_AFTER_429_S)
        readable, errors = [], {}
        for hold in idle:
            orders = lists.get(hold.exchange_id)
            if orders is not None and orders.readable:
                readable.append(hold.id)
            else:
                errors[hold.id] = orders.error if orders else "the EMS refused the reads before it"
        record_reads(readable, errors=errors)
        for hold in idle:
            orders = lists.get(hold.exchange_id)
            count = orders.count(hold.exchange_id) if orders else 0
            is_left_to_press = hold.has_press and held_s[hold.id] < PRESS_GRACE_S
            if orders and count and not (is_left_to_press or hold.is_paused):
                listed = orders.first_orders(hold.exchange_id)
                symbols = dict.fromkeys(order.symbol for order in listed if order.symbol)
                self._begin_episode(hold, orders=count, symbols=list(symbols))

    def _lists(self, exchange_ids: Sequence[str]) -> Mapping[str, OpenOrders]:
        timeout_s = min(MAX_CALL_S, float(settings.EMS_TIMEOUT))
        if len(exchange_ids) > MAX_SINGLE_LISTS and self._single_lists.has_passed:
            orders = self._client().open_orders(timeout=timeout_s)
            usable = {
                exchange_id: orders
                for exchange_id in exchange_ids
                if orders.readable and not orders.other_spellings(exchange_id)
            }
            if len(usable) == len(exchange_ids):
                return usable
            self._single_lists = Deadline(SINGLE_LISTS_FOR_S)
        return read_one_by_one(self._client(), exchange_ids, timeout_s=timeout_s)

    def check(self) -> None:
        """Find blind Holds and trading that goes on; end releases that nobody confirmed."""
        try:
            self._check()
        except Error:
            self._notify_if_not_enforced()
            raise
        self._enforced_at, self._has_notified = self._clock(), False

    def _check(self) -> None:
        if not self._has_holds:
            return
        now = self._clock()
        # Also while another process enforces, whose episodes may die with it.
        findings = self._episodes.inspect(watchdog.snapshots(batch__origin=Origin.HOLD), now=now)
        if not self.is_active:
            self._enforced = []
            return
        holds = snapshots()
        self._enforced = [hold.exchange_id for hold in holds]
        unread_s = self._unread.observe({hold.id: hold.last_read_at for hold in holds}, now=now)
        is_unread = {hold.id: unread_s[hold.id] >= self._blind_after_s for hold in holds}
        unchanged_s = self._sight.observe(is_unread, now=now)
        for hold in holds:
            if is_unread[hold.id]:
                if not hold.is_blind:
                    record_blind(hold.id)
                if not (hold.has_episode or hold.is_paused):
                    self._begin_episode(hold, orders=0)
            elif hold.is_blind and unchanged_s[hold.id] >= SEES_AGAIN_AFTER_S:
                record_sight(hold.id)
            if hold.is_quiet:
                record_quiet(hold.id)
            run = (hold.id, hold.orders_since)
            if hold.orders_s >= self._trading_after_s and run not in self._alarmed:
                with recording():
                    hold_alarms.raise_trading_alarm(
                        Hold.objects.get(pk=hold.id), seconds=hold.orders_s
                    )
                self._alarmed.add(run)
        # As a watchdog does, so that the observer alone is enough.
        if findings.unclaimed:
            execution.run(ids=findings.unclaimed)
        execution.take_over_abandoned(findings.abandoned)
        if self._next_upkeep.has_passed:
            self._next_upkeep = Deadline(UPKEEP_INTERVAL_S)
            lapse_overdue_releases()
        if self._next_reminder.has_passed:
            self._next_reminder = Deadline(REMINDER_CHECK_S)
            remind_if_due()

    def _begin_episode(
        self, hold: HoldSnapshot, *, orders: int, symbols: Sequence[str] = ()
    ) -> None:
        request_id = begin_episode(hold.id, orders=orders, symbols=symbols)
        if request_id is not None:
            log.warning("hold_episode", exchange=hold.exchange_id, orders=orders)
            # Without a free thread here, a watchdog claims it.
            execution.run(ids=[request_id])

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


def snapshots() -> list[HoldSnapshot]:
    """Read the active Holds, in one query."""
    in_flight = CancelRequest.objects.in_flight().filter(
        configured_exchange=OuterRef("configured_exchange")
    )
    rows = Hold.objects.active().annotate(
        has_episode=Exists(in_flight.filter(batch__origin=Origin.HOLD)),
        has_press=Exists(in_flight.filter(batch=OuterRef("batch"))),
        now=Now(),
    )
    return [
        HoldSnapshot(
            id=hold.pk,
            exchange_id=hold.exchange_id,
            last_read_at=hold.last_read_at,
            is_blind=hold.blind_since is not None,
            has_episode=vars(hold)["has_episode"],
            has_press=vars(hold)["has_press"],
            orders_since=hold.orders_since,
            orders_s=(
                (hold.last_order_at - hold.orders_since).total_seconds()
                if hold.last_order_at and hold.orders_since
                else 0.0
            ),
            is_paused=bool(hold.paused_until and hold.paused_until > vars(hold)["now"]),
            is_quiet=bool(
                hold.last_order_at
                and hold.orders_since
                and vars(hold)["now"] - hold.last_order_at >= timedelta(seconds=QUIET_S)
            ),
        )
        for hold in rows.order_by("id")
    ]


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
    tasks = [
        PeriodicTask(
            name="hold_lease",
            work=enforcer.keep_lease,
            interval_s=LEASE_INTERVAL_S,
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
