"""What one item of a list of open orders is: an order, a group of orders, or a failure."""

from killswitch.ems import exchange_ids
from killswitch.ems.foreign_json import AmbiguousObject

CLOSED = frozenset({"FILLED", "CANCELED", "REJECTED"})

# An object with one of these keys is an order, even when it also has a list called "data".
_ORDER_KEYS = frozenset({"client_order_id", "exchange_order_id", "amount_order"})
# An object with one of these may be an order, even when it does not name its exchange.
_FIELDS_OF_AN_ORDER = _ORDER_KEYS | {
    "status",
    "symbol_id_exchange",
    "symbol_id_coinapi",
    "side",
    "price",
    "order_type",
    "time_in_force",
    "amount_open",
    "amount_filled",
    "avg_px",
}
_FIELDS_OF_THE_EMS = _FIELDS_OF_AN_ORDER | {"exchange_id", "reject_reason"}
# Keys with which the EMS reports that it could not read something.
_FAILURE_KEYS = ("reject_reason", "error", "errors")


def is_group(item: dict[str, object]) -> bool:
    """Return True for an object that has its orders in a list of its own."""
    has_data = "data" in item or (
        isinstance(item, AmbiguousObject) and "data" in item.repeated_keys
    )
    return has_data and not item.keys() & _ORDER_KEYS


def group_owner(group: dict[str, object]) -> str | None:
    """Return the exchange that a group names; None if it names none, or two that differ."""
    exchange_id, name = (
        exchange_ids.as_id(group.get(key)) for key in ("exchange_id", "exchange_name")
    )
    if exchange_id is None or name is None:
        return exchange_id or name
    return exchange_id if exchange_ids.plain(exchange_id) == exchange_ids.plain(name) else None


def has_ems_fields(item: dict[str, object]) -> bool:
    """Return True if the item has a field of the EMS's own orders or rejections."""
    return bool(item.keys() & _FIELDS_OF_THE_EMS)


def may_be_order(item: dict[str, object]) -> bool:
    """Return True for an item that may be an order although it does not name its exchange."""
    return bool(item.keys() & _FIELDS_OF_AN_ORDER) or isinstance(item, AmbiguousObject)


def is_failure(item: dict[str, object]) -> bool:
    """Return True for a report that something could not be read: neither an order nor emptiness."""
    if item.keys() & _ORDER_KEYS:
        return False
    kind, severity = item.get("type"), item.get("severity")
    is_reject = isinstance(kind, str) and kind.strip().upper() == "MESSAGE_REJECT"
    is_error = isinstance(severity, str) and severity.strip().upper() == "ERROR"
    return is_reject or is_error or any(_says_something(item.get(key)) for key in _FAILURE_KEYS)


def _says_something(value: object) -> bool:
    return bool(value) and value != "0"


def is_closed(row: dict[str, object]) -> bool:
    """Return True for exactly the three closed statuses; any other order may still be resting.

    Never decided by `amount_open`: a cancelled order was seen with its full amount there.
    """
    status = row.get("status")
    return isinstance(status, str) and status in CLOSED
