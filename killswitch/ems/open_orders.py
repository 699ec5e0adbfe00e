"""What an answer to GET /v1/orders means: how many orders each exchange has open, or unknown."""

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from killswitch.ems.foreign_json import InvalidJson, as_text, bounded_text, parse_json, parse_rows

MAX_FIELD_CHARS = 200
MAX_ORDERS_KEPT = 1_000

CLOSED = frozenset({"FILLED", "CANCELED", "REJECTED"})

# An object with one of these keys is an order, even when it also has a list called "data".
_ORDER_KEYS = frozenset({"status", "client_order_id", "exchange_order_id", "amount_order"})
# Keys with which the EMS reports that it could not read something.
_FAILURE_KEYS = ("reject_reason", "error", "errors")
# Keys with which a group announces more orders than its "data" holds.
_MORE_KEYS = ("has_more", "next", "next_page", "cursor", "orders")

# A row and the exchange it belongs to; None stands for what cannot be determined.
Row = tuple[str | None, dict[str, object] | None]


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
    be counted are counted all the same. If the list was requested for one exchange and has
    definite open orders of it, it is readable whatever else is wrong with it.
    """

    readable: bool
    error: str = ""
    http_status: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    orders: tuple[OpenOrder, ...] = ()

    def count(self, exchange_id: str) -> int:
        """Return how many open orders are listed for exactly this exchange id."""
        return self.counts.get(_count_key(exchange_id), 0)


@dataclass(frozen=True, kw_only=True)
class TimedOpenOrders(OpenOrders):
    """One reading of the open orders of each exchange, made between these two moments (UTC)."""

    started_at: datetime
    finished_at: datetime
    duration_ms: float
    body: bytes = b""  # the beginning of the answer
    size: int = 0  # in bytes, of the part that was read
    sha256: str = ""  # of that part


def read_open_orders(
    *,
    exchange_id: str | None,
    http_status: int,
    body: bytes,
    complete: bool,
    ends_at: float = float("inf"),
) -> OpenOrders:
    """Count the open orders in an answer to GET /v1/orders, for one exchange or (None) for all.

    `ends_at`, in monotonic seconds, is when to give up.
    """
    if http_status != 200:
        return unreadable(_refusal(http_status, body=body), http_status=http_status)
    if not complete:
        return unreadable("the list was cut short or is too large", http_status=http_status)
    try:
        return _count(parse_rows(body), exchange_id=exchange_id, ends_at=ends_at)
    except InvalidJson as error:
        reason = f"the response is not a JSON list of orders: {error}"
        return unreadable(reason, http_status=http_status)
    except TimeoutError as error:
        return unreadable(str(error), http_status=http_status)


def why_incomplete(headers: Mapping[str, str]) -> str:
    """Return why a well-formed list may not be complete and current; "" without a reason."""
    fields = {name.lower(): value.lower() for name, value in headers.items()}
    link, age, warning = (fields.get(name, "") for name in ("link", "age", "warning"))
    if re.search(r"""rel\s*=\s*("[^"]*\bnext\b|'[^']*\bnext\b|next\b)""", link):
        return "the response is only one page of the list"
    if "content-range" in fields:
        return "the response is only part of the list"
    if age.strip().strip("0") or re.match(r"\s*11[0-3]\b", warning):
        return "the response came from a cache"
    return ""


def unreadable(error: str, *, http_status: int | None = None) -> OpenOrders:
    """Return a list from which no conclusion may be drawn, and why."""
    return OpenOrders(readable=False, error=bounded_text(error), http_status=http_status)


def _refusal(http_status: int, *, body: bytes) -> str:
    try:
        document = parse_json(body)
    except InvalidJson:
        document = None
    fields = document if isinstance(document, dict) else {}
    keys = ("reject_reason", "message", "error", "title")
    texts = [as_text(fields[key], max_chars=MAX_FIELD_CHARS) for key in keys if fields.get(key)]
    return f"HTTP {http_status}" + (f" ({': '.join(texts)})" if texts else "")


def _count(document: Iterable[object], *, exchange_id: str | None, ends_at: float) -> OpenOrders:
    counts: Counter[str] = Counter()
    orders: list[OpenOrder] = []
    unattributable = 0
    for owner, row in _rows(document):
        if time.monotonic() > ends_at:
            raise TimeoutError("the list is too long to be read in time")
        if owner is None or row is None:
            unattributable += 1
        elif not _is_closed(row):
            counts[_count_key(owner)] += 1
            unattributable += _may_be_another_spelling(owner, of=exchange_id)
            if owner == exchange_id and len(orders) < MAX_ORDERS_KEPT:
                orders.append(_open_order(row))
    return OpenOrders(
        readable=unattributable == 0 or bool(orders),
        error=f"rows that could not be matched to an exchange: {unattributable}"
        if unattributable
        else "",
        http_status=200,
        counts=dict(counts),
        orders=tuple(orders),
    )


def _rows(document: Iterable[object]) -> Iterator[Row]:
    """Yield every row of a flat or of a grouped list."""
    for item in document:
        if not isinstance(item, dict) or not _is_group(item):
            yield _row(item, group_owner=None)
            continue
        rows = item["data"]
        has_more = any(item.get(key) for key in _MORE_KEYS)
        if _is_failure(item) or has_more or not isinstance(rows, list):
            yield None, None
            continue
        owners = {_identifier(item.get(key)) for key in ("exchange_id", "exchange_name")} - {None}
        owner = owners.pop() if len(owners) == 1 else None  # two names are a contradiction
        if owner is None and not rows:
            yield None, None  # some exchange has no orders, but which?
        yield from (_row(row, group_owner=owner) for row in rows)


def _row(item: object, *, group_owner: str | None) -> Row:
    if not isinstance(item, dict) or _is_group(item) or _is_failure(item):
        return None, None
    owner = item.get("exchange_id")
    return group_owner if owner is None else _identifier(owner), item


def _is_group(item: dict[str, object]) -> bool:
    return "data" in item and not item.keys() & _ORDER_KEYS


def _is_failure(item: dict[str, object]) -> bool:
    """Return True for a report that something could not be read: neither an order nor emptiness."""
    if item.keys() & _ORDER_KEYS:
        return False
    kind, severity = item.get("type"), item.get("severity")
    is_reject = isinstance(kind, str) and kind.strip().upper() == "MESSAGE_REJECT"
    is_error = isinstance(severity, str) and severity.strip().upper() == "ERROR"
    return is_reject or is_error or any(item.get(key) not in (None, []) for key in _FAILURE_KEYS)


def _may_be_another_spelling(owner: str, *, of: str | None) -> bool:
    """Compare loosely: ids are compared whole, but the EMS may not always spell them alike."""
    return of is not None and owner != of and _plain(owner) == _plain(of)


def _plain(exchange_id: str) -> str:
    """Return the id without its variations: case, widths, invisible characters, %-codes."""
    text = unicodedata.normalize("NFKC", unquote(exchange_id)).casefold()
    return "".join(
        character for character in text if character.isprintable() and not character.isspace()
    )


def _identifier(value: object) -> str | None:
    """Return an id that was sent as text; `NumberText` was sent as a number and is not an id."""
    return value if type(value) is str and value else None


def _is_closed(row: dict[str, object]) -> bool:
    """Return True for exactly the three closed statuses; any other order may still be resting.

    Never decided by `amount_open`: a cancelled order was seen with its full amount there.
    """
    status = row.get("status")
    return isinstance(status, str) and status in CLOSED


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
