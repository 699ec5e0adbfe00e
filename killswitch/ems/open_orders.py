"""What an answer to GET /v1/orders means: how many orders each exchange has open, or unknown."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from killswitch.ems import exchange_ids
from killswitch.ems.foreign_json import (
    InvalidJson,
    UnreadableRow,
    as_text,
    bounded_text,
    parse_leniently,
    parse_rows,
)
from killswitch.ems.list_doubts import doubt_about_group, doubt_in_headers, sign_of_a_cache
from killswitch.ems.list_items import (
    group_owner,
    has_ems_fields,
    is_closed,
    is_failure,
    is_group,
    may_be_order,
)

MAX_FIELD_CHARS = 200
MAX_ORDERS_KEPT = 1_000
# Of a list of all exchanges: for each of them, and together, as an EMS may invent exchanges.
MAX_ORDERS_KEPT_EACH = 100
MAX_ORDERS_KEPT_OF_ALL = 10_000
MAX_REFUSAL_BYTES = 64 * 1024

_REJECT_KEYS = frozenset({"type", "reject_reason", "exchange_id", "message", "rejected_message"})


@dataclass(frozen=True, kw_only=True)
class OpenOrder:
    """One open order in the EMS's own words; numbers keep the digits they were sent with."""

    symbol: str
    side: str
    price: str
    amount_order: str
    amount_open: str
    amount_filled: str
    status: str
    client_order_id: str
    exchange_order_id: str


@dataclass(frozen=True, kw_only=True)
class OpenOrders:
    """The meaning of the answer alone; `TimedOpenOrders` adds when the list was requested.

    `readable` False means that the absence of an order proves no emptiness; the rows that could
    be counted are counted all the same. If the list was requested for one exchange and has open
    orders of it, it is readable whatever else is wrong with it. `error` says what is wrong: with
    it, a count is a lower bound.
    """

    readable: bool
    error: str = ""
    # There may be more orders than were listed.
    may_have_more: bool = False
    # An EMS has sent it, and not a cache, a proxy or a web server in its place.
    is_from_ems: bool = False
    http_status: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    # Among those counted for the exchange that was asked for: rows that do not name it.
    unnamed: int = 0
    # The first ones of the exchange that was asked for.
    orders: tuple[OpenOrder, ...] = ()
    # Without one that was asked for: the first ones of each exchange.
    orders_by_exchange: Mapping[str, tuple[OpenOrder, ...]] = field(default_factory=dict)

    def count(self, exchange_id: str) -> int:
        """Return how many open orders are listed for exactly this exchange id."""
        return self.counts.get(_count_key(exchange_id), 0)

    def named_count(self, exchange_id: str) -> int:
        """Return how many open orders name exactly this exchange id."""
        return self.count(exchange_id) - self.unnamed

    def first_orders(self, exchange_id: str) -> tuple[OpenOrder, ...]:
        """Return the first orders of an exchange; there may be more, as `count` says.

        Of a list for one exchange, all orders are its own.
        """
        return self.orders or self.orders_by_exchange.get(_count_key(exchange_id), ())

    def other_spellings(self, exchange_id: str) -> list[str]:
        """Return the other ids in the list that may mean the same exchange."""
        key = _count_key(exchange_id)
        return [
            other
            for other in self.counts
            if other != key and exchange_ids.plain(other) == exchange_ids.plain(key)
        ]

    def other_accounts(self, exchange_id: str) -> dict[str, int]:
        """Return the open orders listed for other accounts of the same exchange, by their ids."""
        return {
            other: count
            for other, count in self.counts.items()
            if count
            and other != _count_key(exchange_id)
            and exchange_ids.venue(other) == exchange_ids.venue(exchange_id)
        }


@dataclass(frozen=True, kw_only=True)
class TimedOpenOrders(OpenOrders):
    """One reading of the open orders of each exchange, made between these two moments (UTC)."""

    started_at: datetime
    finished_at: datetime
    duration_ms: float
    body: bytes = b""  # the beginning of the answer
    size: int = 0  # in bytes, of the part that was read
    sha256: str = ""  # of that part


def read_open_orders(  # noqa: PLR0913 - the parts of an answer, and the deadline
    *,
    exchange_id: str | None,
    http_status: int,
    headers: Mapping[str, str],
    body: bytes,
    complete: bool,
    ends_at: float = float("inf"),
) -> OpenOrders:
    """Count the open orders in an answer to GET /v1/orders, for one exchange or (None) for all.

    `ends_at`, in monotonic seconds, is when to give up.
    """
    if http_status != 200:
        return _refusal(http_status, body=body)
    if not complete:
        return unreadable("the list was cut short or is too large", http_status=http_status)
    reading = _Reading(exchange_id, ends_at=ends_at)
    try:
        for item in parse_rows(body):
            reading.add(item)
    except InvalidJson as error:
        reason = f"the response is not a JSON list of orders: {error}"
        return unreadable(reason, http_status=http_status)
    except TimeoutError as error:
        late = unreadable(str(error), http_status=http_status)
        return replace(late, is_from_ems=reading.has_orders)
    return reading.result(headers)


def unreadable(error: str, *, http_status: int | None = None) -> OpenOrders:
    """Return a list from which no conclusion may be drawn, and why."""
    return OpenOrders(readable=False, error=bounded_text(error), http_status=http_status)


def _refusal(http_status: int, *, body: bytes) -> OpenOrders:
    try:
        document = parse_leniently(body) if len(body) <= MAX_REFUSAL_BYTES else None
    except InvalidJson:
        document = None
    fields = document if isinstance(document, dict) else {}
    keys = ("reject_reason", "message", "error", "title", "detail")
    texts = [as_text(fields[key], max_chars=MAX_FIELD_CHARS) for key in keys if fields.get(key)]
    return OpenOrders(
        readable=False,
        error=bounded_text(f"HTTP {http_status}" + (f" ({': '.join(texts)})" if texts else "")),
        # An EMS that cannot reach an exchange says so in this way, and can still be sent a cancel.
        is_from_ems=http_status == 490 and bool(fields.keys() & _REJECT_KEYS),
        http_status=http_status,
    )


class _Reading:
    """Counts the rows of one list, flat or grouped, one by one."""

    def __init__(self, exchange_id: str | None, *, ends_at: float) -> None:
        self._exchange_id = exchange_id
        self._ends_at = ends_at
        self._counts: Counter[str] = Counter()
        self._orders: list[OpenOrder] = []
        self._orders_by_exchange: defaultdict[str, list[OpenOrder]] = defaultdict(list)
        self._kept_of_all = 0
        self._groups = 0
        self._rows = 0
        self._without_exchange = 0
        self.has_orders = False
        self._doubt = ""  # the first reason why the list may hold more than could be counted

    def add(self, item: object) -> None:
        """Count one value of the list, an order or a group. Raises TimeoutError."""
        if not isinstance(item, dict) or not is_group(item):
            self._add_row(item, group_owner=None)
            return
        self._groups += 1
        rows = item.get("data")  # missing where it was given twice
        if is_failure(item) or not isinstance(rows, list):
            self._have_doubt("the list contains an error in the place of orders")
            return
        self._have_doubt(doubt_about_group(item, rows=len(rows)))
        owner = group_owner(item)
        if owner is None and not rows:
            self._have_doubt("a group in the list does not name its exchange")
        for row in rows:
            self._add_row(row, group_owner=owner)

    def _add_row(self, item: object, *, group_owner: str | None) -> None:
        if time.monotonic() > self._ends_at:
            raise TimeoutError("the list is too long to be read in time")
        self._rows += 1
        if isinstance(item, UnreadableRow):
            self._count_without_exchange(None)
            return
        if isinstance(item, dict) and has_ems_fields(item):
            self.has_orders = True
        if not isinstance(item, dict) or is_group(item) or is_failure(item):
            self._have_doubt("the list contains an error, or something that is not an order")
            return
        owner = item.get("exchange_id")
        owner = group_owner if owner is None else exchange_ids.as_id(owner)
        if group_owner is not None and owner not in (group_owner, None):
            self._have_doubt(f"a group of {group_owner} has rows of {owner}")
        if is_closed(item):
            return
        if owner is not None:
            self._count(owner, item)
        elif may_be_order(item):
            self._count_without_exchange(item)
        else:
            self._have_doubt("the list contains something that is not an order")

    def _count(self, owner: str, row: dict[str, object] | None) -> None:
        key = _count_key(owner)
        self._counts[key] += 1
        if self._exchange_id is None:
            # Compared with a number alone: a list may have a hundred thousand rows.
            if self._counts[key] <= MAX_ORDERS_KEPT_EACH:
                self._keep(key, row)
        elif exchange_ids.may_be_another_spelling(owner, of=self._exchange_id):
            self._have_doubt(
                f"the list has orders of {_count_key(owner)}, which may be the same exchange"
            )
        elif owner == self._exchange_id and row is not None and len(self._orders) < MAX_ORDERS_KEPT:
            self._orders.append(_open_order(row))

    def _keep(self, key: str, row: dict[str, object] | None) -> None:
        if row is not None and self._kept_of_all < MAX_ORDERS_KEPT_OF_ALL:
            self._kept_of_all += 1
            self._orders_by_exchange[key].append(_open_order(row))

    def _count_without_exchange(self, row: dict[str, object] | None) -> None:
        """Count a row for the exchange that was asked for: it may well be one of its orders."""
        self._without_exchange += 1
        if self._exchange_id is not None:
            self._count(self._exchange_id, row)

    def _have_doubt(self, reason: str) -> None:
        self._doubt = self._doubt or reason

    def result(self, headers: Mapping[str, str]) -> OpenOrders:
        """Return what the rows and the headers of the answer mean together."""
        cache_sign = sign_of_a_cache(headers)
        self._have_doubt(
            cache_sign or doubt_in_headers(headers, rows=self._rows, groups=self._groups)
        )
        reasons = [self._doubt] if self._doubt else []
        if self._without_exchange:
            reasons.append(
                f"rows that name no exchange or cannot be read: {self._without_exchange}"
            )
        is_listed = self._exchange_id is not None and self._counts[_count_key(self._exchange_id)]
        return OpenOrders(
            readable=bool(is_listed) or not reasons,
            error=bounded_text("; ".join(reasons)),
            may_have_more=bool(self._doubt),
            is_from_ems=not cache_sign and (self.has_orders or self._rows == 0),
            http_status=200,
            counts=dict(self._counts),
            unnamed=self._without_exchange if self._exchange_id is not None else 0,
            orders=tuple(self._orders),
            orders_by_exchange={
                key: tuple(orders) for key, orders in self._orders_by_exchange.items()
            },
        )


def _open_order(row: dict[str, object]) -> OpenOrder:
    def text(key: str) -> str:
        return as_text(row.get(key), max_chars=MAX_FIELD_CHARS)

    return OpenOrder(
        symbol=text("symbol_id_coinapi") or text("symbol_id_exchange"),
        side=text("side"),
        price=text("price"),
        amount_order=text("amount_order"),
        amount_open=text("amount_open"),
        amount_filled=text("amount_filled"),
        status=text("status"),
        client_order_id=text("client_order_id"),
        exchange_order_id=text("exchange_order_id"),
    )


def _count_key(exchange_id: str) -> str:
    return bounded_text(exchange_id, max_chars=MAX_FIELD_CHARS)
