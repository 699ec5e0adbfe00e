"""Keeps what the page of an exchange shows: its orders, and its counts of the last hours."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from django.db import transaction

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.recorder import recording
from killswitch.ems.open_orders import MAX_ORDERS_KEPT_EACH, OpenOrder, OpenOrders
from killswitch.exchanges.models import Exchange, OpenOrderList, OpenOrderSample

SAMPLES_KEPT_FOR = timedelta(hours=24)
ORDER_FIELDS = (
    "symbol",
    "side",
    "price",
    "amount_open",
    "status",
    "client_order_id",
    "exchange_order_id",
)
_values = itemgetter(*ORDER_FIELDS)
_by_age = itemgetter("first_seen_at", *ORDER_FIELDS)


@dataclass(frozen=True, kw_only=True)
class KeptOrders:
    """The open orders of one exchange in the form in which they are stored."""

    orders: list[dict[str, str]]
    total: int
    unnamed: int


NO_ORDERS = KeptOrders(orders=[], total=0, unnamed=0)


class OrderLists:
    """Writes the orders of each exchange when they have changed, and its counts once a minute.

    It has transactions of its own, after those of the figures, and never delays a figure. `fence`
    returns whether this process still is the active observer.
    """

    def __init__(self, *, fence: Callable[[], bool]) -> None:
        self._fence = fence
        self._claim = 0
        self._stored: dict[int, KeptOrders] = {}
        # The orders of the last list, as the EMS sent them and as they are stored.
        self._last: dict[int, tuple[tuple[OpenOrder, ...], KeptOrders]] = {}
        self._changed: dict[int, KeptOrders] = {}
        self._read_at: datetime | None = None
        self._minute: datetime | None = None
        self._ranges: dict[int, tuple[int, int]] = {}
        self._finished: list[OpenOrderSample] = []

    def start(self, claim: int) -> None:
        """Load what is stored if the lease was claimed anew: another observer may have written."""
        if claim == self._claim:
            return
        self._stored = {
            row.pk: KeptOrders(orders=row.orders, total=row.total, unnamed=row.unnamed)
            for row in OpenOrderList.objects.all()
        }
        self._last, self._changed, self._ranges, self._finished = {}, {}, {}, []
        self._minute = None
        self._claim = claim

    def prepare(
        self, lists: Mapping[int, tuple[str, OpenOrders]], *, at: datetime
    ) -> dict[int, KeptOrders]:
        """Return the orders of each exchange, given by its pk as its ID and the list."""
        kept = {}
        for pk, (exchange_id, orders) in lists.items():
            first_orders = orders.first_orders(exchange_id)[:MAX_ORDERS_KEPT_EACH]
            last_orders, last = self._last.get(pk, (None, self._stored.get(pk, NO_ORDERS)))
            rows = last.orders if first_orders == last_orders else _rows(first_orders, last, at=at)
            kept[pk] = KeptOrders(
                orders=rows, total=orders.count(exchange_id), unnamed=orders.unnamed
            )
            self._last[pk] = first_orders, kept[pk]
        return kept

    def is_stored(self, pk: int, orders: KeptOrders) -> bool:
        return self._stored.get(pk, NO_ORDERS) == orders

    def take(self, read: Mapping[int, KeptOrders], *, at: datetime) -> None:
        """Take over what was read at this time, of the exchanges whose figures were written."""
        self._changed = {pk: kept for pk, kept in read.items() if not self.is_stored(pk, kept)}
        self._read_at = at
        self._end_minute_before(at)
        self._minute = _minute_of(at)
        for pk, kept in read.items():
            lowest, highest = self._ranges.get(pk, (kept.total, kept.total))
            self._ranges[pk] = (min(lowest, kept.total), max(highest, kept.total))

    def write(self, *, now: datetime) -> None:
        """Write the orders that have changed, and the counts of a minute that is over."""
        if self._changed and self._read_at:
            self._write_changed(self._read_at)
        self._end_minute_before(now)
        if self._finished:
            self._write_samples()

    def _write_changed(self, read_at: datetime) -> None:
        with recording() as record:
            if not self._fence():
                return
            OpenOrderList.objects.bulk_create(
                [
                    OpenOrderList(configured_exchange_id=pk, read_at=read_at, **vars(kept))
                    for pk, kept in self._changed.items()
                ],
                update_conflicts=True,
                unique_fields=["configured_exchange"],
                update_fields=["orders", "total", "unnamed", "read_at"],
            )
            # The revision, for which other writers wait, is taken after the long texts are written.
            record.changed(OpenOrderList.objects.filter(pk__in=self._changed))
        self._stored |= self._changed
        self._changed = {}

    def _end_minute_before(self, at: datetime) -> None:
        if self._minute is None or self._minute == _minute_of(at):
            return
        self._finished += [
            OpenOrderSample(
                configured_exchange_id=pk, minute=self._minute, lowest=lowest, highest=highest
            )
            for pk, (lowest, highest) in self._ranges.items()
        ]
        self._minute, self._ranges = None, {}

    def _write_samples(self) -> None:
        # Forgotten before they are written: one that cannot be would keep all later ones out.
        samples, self._finished = self._finished, []
        with transaction.atomic():
            if not self._fence():
                return
            oldest = samples[-1].minute - SAMPLES_KEPT_FOR
            pks = set(Exchange.objects.values_list("pk", flat=True))  # one may have been deleted
            samples = [sample for sample in samples if sample.configured_exchange_id in pks]
            # A clock that was set back brings a minute twice. Its first counts stay.
            OpenOrderSample.objects.bulk_create(samples, ignore_conflicts=True)
            OpenOrderSample.objects.filter(minute__lt=oldest).delete()


def _rows(orders: Iterable[OpenOrder], before: KeptOrders, *, at: datetime) -> list[dict[str, str]]:
    """Return the orders as they are stored, the oldest first; those of `before` keep their ages."""
    first_seen = {key: row["first_seen_at"] for key, row in _identified(before.orders)}
    now = utc_text(at)
    rows = [dict(zip(ORDER_FIELDS, _values(vars(order)), strict=True)) for order in orders]
    for key, row in _identified(rows):
        row["first_seen_at"] = first_seen.get(key, now)
    # In one order, whatever the order in which the EMS lists them this time.
    rows.sort(key=_by_age)
    return rows


def _identified(
    rows: Iterable[dict[str, str]],
) -> Iterator[tuple[tuple[str, int], dict[str, str]]]:
    """Yield each order with a key under which the next list has it again.

    An EMS may give several orders one ID, or none. Those of one key are told apart by their order.
    """
    counts = Counter[str]()
    for row in rows:
        name = row["client_order_id"] or row["exchange_order_id"]
        name = name or "\n".join((row["symbol"], row["side"], row["price"]))
        counts[name] += 1
        yield (name, counts[name]), row


def _minute_of(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
