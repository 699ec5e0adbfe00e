"""Keeps the open orders that the EMS last listed: one active observer, one call for all."""

import heapq
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from django.db import Error
from django.db.models import (
    BigIntegerField,
    Case,
    DateTimeField,
    F,
    PositiveIntegerField,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Now

from killswitch.audit.recorder import Recording, recording
from killswitch.cancels.models import CancelRequest
from killswitch.ems.client import EmsClient
from killswitch.ems.one_by_one import read_one_by_one
from killswitch.ems.open_orders import OpenOrders, TimedOpenOrders
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.observer import ems_probe
from killswitch.observer.order_lists import KeptOrders, OrderLists
from killswitch.observer.second_looks import ListRead, SecondLooks
from killswitch.readiness.models import EMS_PROBE, Probe
from killswitch.runtime import heartbeats, revisions
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.durability import commit_without_flush
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.kept_connections import release_connection
from killswitch.runtime.leases import STALE_AFTER_S, RowLease
from killswitch.runtime.revisions import Revision

MAX_ERROR_CHARS = 500
MAX_UNCOVERED = 1_000  # an EMS that invents ids must not fill the page
# A little more than between two reads, which renew the lease as well; its others wait for 5 s.
RENEWAL_INTERVAL_S = 2.25
STANDBY_INTERVAL_S = 0.9  # between two looks whether the lease has become free
SINGLE_READS_INTERVAL_S = 5.0  # between two rounds in which exchanges are read one by one


class ObserverLease(RowLease):
    """The right to observe."""

    def __init__(
        self, *, stale_after_s: float = STALE_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(Observation.objects, stale_after_s=stale_after_s, clock=clock)


class Observer:
    """Reads all open orders, in one call if possible, and writes what has changed."""

    def __init__(
        self,
        *,
        client: EmsClient,
        lease: ObserverLease | None = None,
        second_looks: SecondLooks | None = None,
    ) -> None:
        self._client = client
        self._lease = lease or ObserverLease()
        self._second_looks = second_looks or SecondLooks()
        self.order_lists = OrderLists(fence=self._lease.fence)
        self.is_active = False
        self._next_renewal = Deadline(0.0)
        self._next_single_reads = Deadline(0.0)

    def keep_lease(self) -> bool:
        """Keep or take the lease; has its own thread, because a read may outlast the lease."""
        try:
            self.is_active = self._lease.hold()
        except Error:
            self.is_active = False  # unknown while the database cannot be reached
            raise
        self._next_renewal = Deadline(RENEWAL_INTERVAL_S if self.is_active else STANDBY_INTERVAL_S)
        return self.is_active

    @property
    def must_renew(self) -> bool:
        """Return whether to call `keep_lease` now: no read has renewed the lease lately."""
        return self._next_renewal.has_passed

    def release_lease(self) -> None:
        self.is_active = False
        self._lease.release()

    def read(self) -> TimedOpenOrders | None:
        """Read the EMS's list and write it; None when another observer is the active one."""
        if not self.is_active:
            return None
        requested_at = self._second_looks.clock()
        newest = Subquery(Revision.objects.filter(id=1).values("value"))
        rows = list(
            Exchange.objects.annotate(newest=newest).values_list(
                "pk", "seen_at", "exchange_id", "enabled", "newest"
            )
        )
        known = rows[0][4] if rows else None
        if known is None:  # without any exchange
            known = revisions.current()
        release_connection()  # this thread holds none while the EMS is being waited for
        orders = self._client.open_orders()
        single_lists = None
        if _may_be_readable_one_by_one(orders) and self._next_single_reads.has_passed:
            # Those first whose figures are the oldest, and before them those that have none.
            enabled_rows = [row for row in rows if row[3]]
            enabled_rows.sort(key=lambda row: row[1].timestamp() if row[1] else 0.0)
            # A row that names no exchange, or one exchange that the EMS cannot reach, makes the
            # list of all exchanges prove nothing about the others.
            single_lists = read_one_by_one(self._client, [row[2] for row in enabled_rows])
            self._next_single_reads = Deadline(SINGLE_READS_INTERVAL_S)
        is_written = self.write(
            orders,
            seen_before={row[0]: row[1] for row in rows},
            known=known,
            requested_at=requested_at,
            single_lists=single_lists,
        )
        return orders if is_written else None

    def write(
        self,
        orders: TimedOpenOrders,
        *,
        seen_before: Mapping[int, datetime | None],
        known: int | None = None,
        requested_at: float | None = None,
        single_lists: Mapping[str, OpenOrders] | None = None,
    ) -> bool:
        """Write what was read; False when the lease was lost meanwhile.

        `seen_before` is each exchange's `seen_at` from before the call, `known` the revision, and
        `requested_at` the monotonic time. `single_lists` are those of the exchanges that were read
        one by one, because the list of all could not be used.
        """
        is_first_listing = False
        with recording() as record:
            # A process that was stopped during the call must not overwrite its successor's figures.
            if not self._lease.fence():
                self._next_renewal = Deadline(0.0)
                return False
            last = Observation.objects.get()
            heartbeats.beat(Process.OBSERVER)
            record_probe(orders)
            self.order_lists.start(self._lease.claims)
            # Locked before the revision is taken, and in one order: no deadlock is possible.
            exchanges = list(Exchange.objects.select_for_update(no_key=True).order_by("id"))
            if known is not None and requested_at is not None:
                list_read = ListRead(
                    orders=orders,
                    single_lists=single_lists or {},
                    awaits_single_lists=single_lists is None
                    and _may_be_readable_one_by_one(orders),
                    known=known,
                    requested_at=requested_at,
                )
                self._second_looks.record(record, list_read)
            lists = {
                exchange_id: single_list
                for exchange_id, single_list in (single_lists or {}).items()
                if single_list.readable and not single_list.may_have_more
            }
            if orders.readable:
                # An id that the EMS spells in another way may be meant: its figure is not 0.
                lists = {
                    row.exchange_id: orders
                    for row in exchanges
                    if not orders.other_spellings(row.exchange_id)
                }
            # What a cancel has read while this call was under way is newer.
            older = [
                row
                for row in exchanges
                if row.exchange_id in lists and row.seen_at == seen_before.get(row.pk)
            ]
            read: dict[int, KeptOrders] = {}
            if older:
                read = self.order_lists.prepare(
                    {row.pk: (row.exchange_id, lists[row.exchange_id]) for row in older},
                    at=orders.started_at,
                )
                written = _write_figures(
                    record,
                    older,
                    figures={pk: kept.total for pk, kept in read.items()},
                    same_orders=[pk for pk in read if self.order_lists.is_stored(pk, read[pk])],
                    seen_at=orders.started_at,
                    last_seen_at=last.seen_at,
                    known=known,
                )
                read = {pk: read[pk] for pk in written}
                new = [
                    row.pk
                    for row in older
                    if row.first_listed_at is None
                    and lists[row.exchange_id].named_count(row.exchange_id)
                ]
                if new:
                    is_first_listing = True
                    Exchange.objects.filter(pk__in=new).update(first_listed_at=orders.started_at)
            enabled_ids = {row.exchange_id for row in exchanges if row.enabled}
            error = ""
            is_visible = _replace_uncovered(
                orders.counts, enabled=enabled_ids, is_whole=orders.readable
            )
            if not orders.readable:
                error = orders.error or "the open orders could not be read"
                if _may_be_readable_one_by_one(orders):
                    error = f"the list of all exchanges cannot be used ({error})"
                error = error[:MAX_ERROR_CHARS]
            fields: dict[str, object] = {}
            # Other figures keep their age: they are the last ones known, and become visibly stale.
            if orders.readable or (lists and enabled_ids <= lists.keys()):
                fields["seen_at"] = orders.started_at
            if is_visible or last.error != error:
                fields |= {"error": error, "revision": record.revision}
            if fields:
                Observation.objects.update(**fields)
            if record.is_empty and not is_first_listing:
                commit_without_flush()  # times only, which the next read replaces
        self._next_renewal = Deadline(RENEWAL_INTERVAL_S)
        if read:
            self.order_lists.take(read, at=orders.started_at)
        return True


def record_probe(orders: TimedOpenOrders) -> None:
    """Record whether an EMS answers at our address and accepts our key, as this read shows.

    A list that the EMS has sent and that cannot be used passes the probe: a cancel would go out.
    """
    problem = ems_probe.problem(orders)
    values = {
        "ok": not problem,
        "detail": (problem or orders.error)[:MAX_ERROR_CHARS],
        "milliseconds": orders.duration_ms,
        "at": Now(),
    }
    if not Probe.objects.filter(name=EMS_PROBE).update(**values):
        Probe.objects.update_or_create(name=EMS_PROBE, defaults=values)


def _may_be_readable_one_by_one(orders: TimedOpenOrders) -> bool:
    """Return True when an EMS answered that the list of all cannot be used.

    Neither our key nor our pace is what it refuses then, and the answer is not from a cache.
    """
    return not orders.readable and (orders.is_from_ems or orders.http_status == 400)


def _write_figures(  # noqa: PLR0913 - what was read, and since when it may be out of date
    record: Recording,
    exchanges: list[Exchange],
    *,
    figures: Mapping[int, int],
    same_orders: Collection[int],
    seen_at: datetime,
    last_seen_at: datetime | None,
    known: int | None,
) -> Collection[int]:
    """Write the figures, and which lists of orders are still as stored; return whose were written.

    `same_orders` are the exchanges whose orders are those that are stored.
    """
    changed = {
        exchange.pk
        for exchange in exchanges
        if exchange.open_orders != figures[exchange.pk]
        or exchange.seen_at != last_seen_at  # its age becomes that of the observation again
    }
    newer: set[int] = set()
    if changed and known is not None:
        # A request that ended during the call has read a newer list, also where it could not write
        # the figure. Once the revision is taken, no request can end before this is written.
        ended = CancelRequest.objects.final().filter(
            revision__gt=known, revision__lt=record.revision
        )
        newer = set(ended.values_list("configured_exchange_id", flat=True))
        changed -= newer
    written = figures.keys() - newer
    rows = Exchange.objects.filter(pk__in=written)
    orders_read_at = Case(
        When(pk__in=same_orders, then=Value(seen_at)),
        default=F("orders_read_at"),
        output_field=DateTimeField(),
    )
    if not changed:
        rows.update(seen_at=seen_at, orders_read_at=orders_read_at)
        return written
    cases = [When(pk=pk, then=Value(figures[pk])) for pk in sorted(changed)]
    rows.update(  # one UPDATE: all of them were seen, and some have changed
        seen_at=seen_at,
        orders_read_at=orders_read_at,
        open_orders=Case(*cases, default=F("open_orders"), output_field=PositiveIntegerField()),
        revision=Case(
            When(pk__in=sorted(changed), then=Value(record.revision)),
            default=F("revision"),
            output_field=BigIntegerField(),
        ),
    )
    return written


def _replace_uncovered(counts: Mapping[str, int], *, enabled: set[str], is_whole: bool) -> bool:
    """Make the table of uncovered ids match, touching only rows that differ; True if any did.

    A list that is not whole shows ids that are uncovered, and not which ones no longer are.
    """
    candidates = [(key, count) for key, count in counts.items() if count and key not in enabled]
    largest = dict(heapq.nlargest(MAX_UNCOVERED, candidates, key=lambda item: item[1]))
    rows = dict(UncoveredExchange.objects.values_list("exchange_id", "open_orders"))
    obsolete = rows.keys() - largest.keys() if is_whole else rows.keys() & enabled
    different = {key: count for key, count in largest.items() if rows.get(key) != count}
    if obsolete:
        UncoveredExchange.objects.filter(exchange_id__in=obsolete).delete()
    if different:
        UncoveredExchange.objects.bulk_create(
            [UncoveredExchange(exchange_id=key, open_orders=n) for key, n in different.items()],
            update_conflicts=True,
            unique_fields=["exchange_id"],
            update_fields=["open_orders"],
        )
    return bool(obsolete or different)
