"""What an answer to "which orders are open?" means: how many, whose, or that it is not known."""

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote

from killswitch.ems.foreign_text import InvalidJson, as_text, parse_json, parse_rows, truncate

MAX_FIELD_CHARS = 200
MAX_ORDERS_KEPT = 1_000

CLOSED = frozenset({"FILLED", "CANCELED", "REJECTED"})

# An object with one of these is an order, even when it also carries a list called "data".
_ORDER_KEYS = frozenset({"status", "client_order_id", "exchange_order_id", "amount_order"})
_REFUSALS = ("reject_reason", "error", "errors")
_MORE = ("has_more", "next", "next_page", "cursor", "orders")


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
class OpenOrdersList:
    """What the answer itself says; `OpenOrders` adds when it was asked for.

    `readable` False means that nothing may be concluded from an order being absent; what is
    counted is still there. When one exchange is asked for and definite open orders of it are
    listed, the list is readable whatever else is wrong with it.
    """

    readable: bool
    error: str = ""
    http_status: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    orders: tuple[OpenOrder, ...] = ()

    def count(self, exchange_id: str) -> int:
        """How many open orders were listed for exactly this exchange id."""
        return self.counts.get(_count_key(exchange_id), 0)


@dataclass(frozen=True, kw_only=True)
class OpenOrders(OpenOrdersList):
    """One reading of the open orders: who had how many, between these two moments (UTC)."""

    started_at: datetime
    finished_at: datetime
    duration_ms: float
    body: bytes = b""  # how the answer begins
    size: int = 0  # bytes of it that were read
    sha256: str = ""  # of those bytes


def read_open_orders(
    *,
    exchange_id: str | None,
    http_status: int,
    body: bytes,
    complete: bool,
    ends_at: float = float("inf"),
) -> OpenOrdersList:
    """Count the open orders in an answer to GET /v1/orders, for one exchange or (None) for all.

    `ends_at`, in monotonic seconds, is when to give up.
    """
    if http_status != 200:
        return unreadable(_refusal(http_status, body=body), http_status=http_status)
    if not complete:
        return unreadable("the list was cut short or is too large", http_status=http_status)
    try:
        return _count(_in_time(parse_rows(body), ends_at=ends_at), exchange_id=exchange_id)
    except InvalidJson as error:
        return unreadable(f"the answer is no JSON list of orders: {error}", http_status=http_status)
    except TimeoutError as error:
        return unreadable(str(error), http_status=http_status)


def why_incomplete(headers: Mapping[str, str]) -> str:
    """Why an answer may not be all there is now, although it is a whole list; "" for no reason."""
    said = {name.lower(): value.lower() for name, value in headers.items()}
    if re.search(r"""rel\s*=\s*("[^"]*\bnext\b|'[^']*\bnext\b|next\b)""", said.get("link", "")):
        return "the answer is only one page of the list"
    if "content-range" in said:
        return "the answer is only a part of the list"
    if said.get("age", "0").strip().strip("0") or re.match(
        r"\s*11[0-3]\b", said.get("warning", "")
    ):
        return "the answer comes out of a cache"
    return ""


def unreadable(error: str, *, http_status: int | None = None) -> OpenOrdersList:
    """The reading that says nothing, and why."""
    return OpenOrdersList(readable=False, error=truncate(error), http_status=http_status)


def _refusal(http_status: int, *, body: bytes) -> str:
    try:
        document = parse_json(body)
    except InvalidJson:
        document = None
    said = document if isinstance(document, dict) else {}
    keys = ("reject_reason", "message", "error", "title")
    words = [as_text(said[key], limit=MAX_FIELD_CHARS) for key in keys if said.get(key)]
    return f"HTTP {http_status}" + (f" ({': '.join(words)})" if words else "")


def _in_time(rows: Iterable[object], *, ends_at: float) -> Iterator[object]:
    for row in rows:
        if time.monotonic() > ends_at:
            raise TimeoutError("the list is too long to be read in time")
        yield row


def _count(document: Iterable[object], *, exchange_id: str | None) -> OpenOrdersList:
    counts: Counter[str] = Counter()
    orders: list[OpenOrder] = []
    unattributable = 0
    for owner, row in _rows(document):
        if owner is None or row is None:
            unattributable += 1
        elif not _is_closed(row):
            counts[_count_key(owner)] += 1
            unattributable += _may_be_another_spelling(owner, of=exchange_id)
            if owner == exchange_id and len(orders) < MAX_ORDERS_KEPT:
                orders.append(_open_order(row))
    return OpenOrdersList(
        readable=unattributable == 0 or bool(orders),
        error=f"{unattributable} rows belong to no known exchange" if unattributable else "",
        http_status=200,
        counts=dict(counts),
        orders=tuple(orders),
    )


Row = tuple[str | None, dict[str, object] | None]


def _rows(document: Iterable[object]) -> Iterator[Row]:
    """Every row with the exchange it belongs to; None stands for what cannot be told."""
    for item in document:
        if not isinstance(item, dict) or not _is_group(item):
            yield _row(item, group=None)
        elif _is_refusal(item) or _is_part(item) or not isinstance(item["data"], list):
            yield None, None
        else:
            owner = _group_owner(item)
            if owner is None and not item["data"]:
                yield None, None  # whose orders are not there?
            yield from (_row(row, group=owner) for row in item["data"])


def _row(item: object, *, group: str | None) -> Row:
    if not isinstance(item, dict) or _is_group(item) or _is_refusal(item):
        return None, None
    return _owner(item, group=group), item


def _is_part(group: dict[str, object]) -> bool:
    """Words of a group which say that there is more than its `data`."""
    return any(group.get(name) for name in _MORE)


def _is_group(item: dict[str, object]) -> bool:
    return "data" in item and not item.keys() & _ORDER_KEYS


def _is_refusal(item: dict[str, object]) -> bool:
    """The EMS's word that something could not be read, which is neither an order nor none."""
    if item.keys() & _ORDER_KEYS:
        return False
    kind, severity = item.get("type"), item.get("severity")
    refused = isinstance(kind, str) and kind.strip().upper() == "MESSAGE_REJECT"
    failed = isinstance(severity, str) and severity.strip().upper() == "ERROR"
    return refused or failed or any(item.get(name) not in (None, []) for name in _REFUSALS)


def _group_owner(group: dict[str, object]) -> str | None:
    """The exchange that a group names; nobody, when it names two."""
    names = {_identifier(group.get(key)) for key in ("exchange_id", "exchange_name")} - {None}
    return names.pop() if len(names) == 1 else None


def _owner(row: dict[str, object], *, group: str | None) -> str | None:
    own = row.get("exchange_id")
    return group if own is None else _identifier(own)


def _may_be_another_spelling(owner: str, *, of: str | None) -> bool:
    """Ids are compared whole, but nobody knows whether the EMS always spells them alike."""
    return of is not None and owner != of and _plain(owner) == _plain(of)


def _plain(exchange_id: str) -> str:
    """Without what one id can differ in: case, widths, invisible signs, %-codes."""
    text = unicodedata.normalize("NFKC", unquote(exchange_id)).casefold()
    return "".join(sign for sign in text if sign.isprintable() and not sign.isspace())


def _identifier(value: object) -> str | None:
    """Only text that was sent as text names an exchange (`Digits` were sent as a number)."""
    return value if type(value) is str and value else None


def _is_closed(row: dict[str, object]) -> bool:
    """Exactly the three closed words; anything else, or nothing, may still be resting.

    Never decided by `amount_open`: a cancelled order was seen with its full amount there.
    """
    status = row.get("status")
    return isinstance(status, str) and status in CLOSED


def _open_order(row: dict[str, object]) -> OpenOrder:
    def words(key: str) -> str:
        return as_text(row.get(key), limit=MAX_FIELD_CHARS)

    return OpenOrder(
        symbol=words("symbol_id_coinapi") or words("symbol_id_exchange"),
        side=words("side"),
        price=words("price"),
        amount_order=words("amount_order"),
        amount_open=words("amount_open"),
        amount_filled=words("amount_filled"),
        status=words("status"),
        client_order_id=words("client_order_id"),
        exchange_order_id=words("exchange_order_id"),
    )


def _count_key(exchange_id: str) -> str:
    return truncate(exchange_id, limit=MAX_FIELD_CHARS)
