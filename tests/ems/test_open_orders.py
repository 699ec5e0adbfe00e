"""Open orders are counted, and anything unclear counts as open or makes the list unreadable."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.ems.foreign_json import MAX_VALUES
from killswitch.ems.open_orders import OpenOrders, read_open_orders, why_incomplete

OPEN = ["RECEIVED", "ROUTING", "ROUTED", "NEW", "PENDING_CANCEL", "PARTIALLY_FILLED"]


def read(
    document: object = None,
    *,
    exchange_id: str | None = "KRAKEN",
    http_status: int = 200,
    body: bytes | None = None,
    complete: bool = True,
) -> OpenOrders:
    return read_open_orders(
        exchange_id=exchange_id,
        http_status=http_status,
        body=json.dumps(document).encode() if body is None else body,
        complete=complete,
    )


def row(**fields: Any) -> dict[str, Any]:
    return {"exchange_id": "KRAKEN", "client_order_id": "c1", "status": "NEW", **fields}


def test_an_empty_list_is_readable_and_empty() -> None:
    orders = read([])
    assert (orders.readable, orders.count("KRAKEN"), orders.error) == (True, 0, "")


@pytest.mark.parametrize("status", [*OPEN, "SOMETHING_NEW", "filled", "CANCELLED", "", None, 5, []])
def test_every_status_but_the_closed_ones_counts_as_open(status: object) -> None:
    assert read([row(status=status)]).count("KRAKEN") == 1


def test_a_row_without_a_status_counts_as_open() -> None:
    assert read([{"exchange_id": "KRAKEN"}]).count("KRAKEN") == 1


@pytest.mark.parametrize("status", ["FILLED", "CANCELED", "REJECTED"])
def test_a_closed_order_is_closed_with_any_amount(status: str) -> None:
    orders = read([row(status=status, amount_open=100.0)])
    assert (orders.readable, orders.count("KRAKEN")) == (True, 0)


def test_an_open_order_is_open_with_any_amount() -> None:
    assert read([row(amount_open=0)]).count("KRAKEN") == 1


def test_only_exactly_this_exchange_counts() -> None:
    others = ["KRAKEN/JOHN", "kraken/john", "KRAKEN-", "KRAKENFTS"]
    orders = read([row(exchange_id=other) for other in others])
    assert orders.readable
    assert orders.count("KRAKEN") == 0
    assert orders.orders == ()
    assert orders.counts == dict.fromkeys(others, 1)


@pytest.mark.parametrize(
    "other",
    [
        *("kraken", "Kraken", "KRAKEN ", " KRAKEN", "KRAKEN\n", "KRA\u200bKEN", "\ufeffKRAKEN"),
        *("\uff2b\uff32\uff21\uff2b\uff25\uff2e", "KR%41KEN"),
    ],
)
def test_another_spelling_of_the_id_does_not_count_and_proves_no_emptiness(other: str) -> None:
    orders = read([row(exchange_id=other)])
    assert (orders.readable, orders.count("KRAKEN"), orders.orders) == (False, 0, ())
    assert read([row(exchange_id=other, status="CANCELED")]).readable
    assert read([row(exchange_id=other), row()]).count("KRAKEN") == 1
    assert read([row(exchange_id=other)], exchange_id=None).readable


@pytest.mark.parametrize("name", ["exchange_id", "exchange_name"])
def test_a_grouped_list_counts_like_a_flat_one(name: str) -> None:
    rows = [{"client_order_id": "a", "status": "NEW"}, row(exchange_id="BINANCE")]
    orders = read([{"type": "SNAPSHOT", name: "KRAKEN", "data": rows}, {name: "LMAX", "data": []}])
    assert orders.readable
    assert orders.counts == {"KRAKEN": 1, "BINANCE": 1}


def test_two_ways_to_write_a_letter_are_one_letter() -> None:
    orders = read([row(exchange_id="BO\u0308RSE")], exchange_id="B\u00d6RSE")
    assert (orders.readable, orders.count("B\u00d6RSE")) == (False, 0)


def test_a_group_may_carry_more_fields() -> None:
    group: dict[str, object] = {
        "type": "SNAPSHOT",
        "exchange_id": "KRAKEN",
        "time": "2026",
        "errors": [],
        "next": None,
    }
    assert read([group | {"data": []}]).readable


def test_an_order_with_a_list_called_data_is_still_an_order() -> None:
    assert read([row(data=[])]).count("KRAKEN") == 1


@pytest.mark.parametrize(
    "stray",
    [
        None,
        5,
        "KRAKEN",
        [],
        {},
        {"status": "NEW"},
        row(exchange_id=""),
        row(exchange_id=5),
        row(exchange_id=None),
        {"exchange_name": "KRAKEN", "data": None},
        {"data": [{"status": "NEW"}]},
        {"exchange_id": "KRAKEN", "data": [5]},
        {"exchange_id": "KRAKEN", "data": [row(exchange_id=7)]},
        [row()],
        [[]],
        {"type": "MESSAGE_REJECT", "exchange_id": "KRAKEN"},
        {"type": "message_reject", "exchange_id": "BINANCE", "data": []},
        {"exchange_id": "LMAX", "reject_reason": "EXCHANGE_UNREACHABLE"},
        {"exchange_id": "LMAX", "data": [{"reject_reason": "EXCHANGE_UNREACHABLE"}]},
        {"exchange_id": "LMAX", "data": [{"exchange_id": "LMAX", "data": [row()]}]},
        {"exchange_id": "LMAX", "exchange_name": "KRAKEN", "data": []},
        {"data": []},
        {"exchange_id": "KRAKEN", "data": [], "error": "orders are not loaded"},
        {"type": "message", "severity": "ERROR", "exchange_id": "KRAKEN", "data": []},
        {"exchange_id": "KRAKEN", "data": [], "has_more": True},
        {"exchange_id": "KRAKEN", "data": [], "orders": [row()]},
    ],
)
def test_a_row_without_a_definite_exchange_makes_the_list_unreadable(
    stray: object,
) -> None:
    orders = read([stray, row(exchange_id="BINANCE")])
    assert not orders.readable
    assert orders.error
    assert orders.count("BINANCE") == 1
    assert read([stray, row()]).readable
    assert not read([stray, row()], exchange_id=None).readable


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b"Ok", b"[", b'[{"a":1,"a":2}]', b"[NaN]", b'["\xff"]', b"[" * 9999],
)
def test_a_body_that_is_not_a_list_is_not_readable(body: bytes) -> None:
    orders = read(body=body)
    assert (orders.readable, orders.count("KRAKEN")) == (False, 0)
    assert orders.error


def test_a_refused_order_is_an_order_also_when_it_says_why() -> None:
    assert read([row(reject_reason="OTHER", type="MESSAGE_REJECT")]).count("KRAKEN") == 1


@pytest.mark.parametrize(
    ("headers", "incomplete"),
    [
        ({}, False),
        ({"Age": "0", "Link": '<https://ems/>; rel="self"'}, False),
        ({"Age": "7"}, True),
        ({"age": "nonsense"}, True),
        ({"Link": '<https://ems/?page=2>; rel="next", <https://ems/>; rel="first"'}, True),
        ({"LINK": "<x>; rel = next"}, True),
        ({"Link": '<x>; rel="prev next"'}, True),
        ({"Link": '<x>; rel="prev"; title="next"'}, False),
        ({"Content-Range": "orders 0-0/7"}, True),
        ({"Warning": '110 - "Response is Stale"'}, True),
        ({"Warning": '299 - "Deprecated"'}, False),
    ],
)
def test_a_page_of_a_list_or_a_cached_one_may_be_incomplete(
    headers: dict[str, str], incomplete: bool
) -> None:
    assert bool(why_incomplete(headers)) == incomplete


@pytest.mark.parametrize("status", [201, 204, 301, 401, 490, 500])
def test_only_a_200_is_readable(status: int) -> None:
    orders = read([], http_status=status)
    assert (orders.readable, orders.http_status) == (False, status)
    assert str(status) in orders.error


def test_a_refusal_keeps_its_texts() -> None:
    body = b'{"type":"MESSAGE_REJECT","reject_reason":"EXCHANGE_UNREACHABLE","message":"no"}'
    error = read(body=body, http_status=490).error
    assert error == "HTTP 490 (EXCHANGE_UNREACHABLE: no)"


def test_a_list_cut_short_is_not_readable() -> None:
    assert not read([], complete=False).readable


def test_an_order_keeps_its_texts_and_digits() -> None:
    body = (
        b'[{"exchange_id":"KRAKEN","symbol_id_coinapi":"KRAKEN_SPOT_BTC_USD","side":"BUY",'
        b'"price":0.10,"amount_order":1.0,"amount_open":0.5000,"amount_filled":0.50,'
        b'"status":"PARTIALLY_FILLED","client_order_id":"a\\u0000","exchange_order_id":123,'
        b'"order_type":null,"fills":[{"price":1}]}]'
    )
    (order,) = read(body=body).orders
    assert (order.symbol, order.side, order.price) == ("KRAKEN_SPOT_BTC_USD", "BUY", "0.10")
    assert (order.amount_order, order.amount_open, order.amount_filled) == ("1.0", "0.5000", "0.50")
    assert (order.status, order.client_order_id) == ("PARTIALLY_FILLED", "a\\u0000")
    assert order.exchange_order_id == "123"


def test_the_fields_of_an_order_are_bounded() -> None:
    (order,) = read([row(client_order_id="x" * 10_000)]).orders
    assert len(order.client_order_id) == 200


def test_a_list_of_all_exchanges_is_counted_and_keeps_no_orders() -> None:
    orders = read([row(), row(exchange_id="A/\x00")], exchange_id=None)
    assert (orders.readable, orders.orders) == (True, ())
    assert (orders.count("KRAKEN"), orders.count("A/\x00"), orders.count("B")) == (1, 1, 0)


def test_twenty_thousand_orders_are_counted_exactly_and_a_thousand_kept() -> None:
    history = [["RECEIVED", "2024-02-22T23:55:31.5424443Z"]] * 3
    rows = [row(client_order_id=f"c{n}", price=n, status_history=history) for n in range(20_500)]
    body = json.dumps([*rows, row(status="FILLED")]).encode()
    orders = read(body=body)
    assert (orders.readable, orders.count("KRAKEN"), len(orders.orders)) == (True, 20_500, 1000)


def test_a_long_list_is_never_in_memory_as_a_whole() -> None:
    body = json.dumps([row(client_order_id=f"c{n}", price=n) for n in range(50_000)]).encode()
    tracemalloc.start()
    try:
        assert read(body=body, exchange_id=None).count("KRAKEN") == 50_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(body)


@pytest.mark.parametrize("value", [b"1", b"[]", b"{}", b'{"data":[]}'])
def test_a_list_of_more_values_than_orders_can_have_is_not_read(value: bytes) -> None:
    """Parsing it would stop all other threads for a minute, and fill the memory."""
    body = b"[" + (value + b",") * MAX_VALUES + b"1]"
    started_at = time.monotonic()
    assert not read(body=body).readable
    assert time.monotonic() - started_at < 10


def test_a_list_that_takes_too_long_is_not_readable() -> None:
    body = json.dumps([row(status="FILLED")]).encode()
    late = time.monotonic() - 1
    orders = read_open_orders(
        exchange_id="KRAKEN", http_status=200, body=body, complete=True, ends_at=late
    )
    assert (orders.readable, orders.error) == (False, "the list is too long to be read in time")


ROWS = st.recursive(
    st.none()
    | st.text(max_size=3)
    | st.fixed_dictionaries(
        {},
        optional={
            "exchange_id": st.sampled_from(["KRAKEN", "KRAKEN/JOHN", "", None, 5]),
            "status": st.sampled_from([*OPEN, "FILLED", "CANCELED", None, "X"]),
        },
    ),
    lambda rows: st.fixed_dictionaries(
        {"data": st.lists(rows, max_size=3)},
        optional={"exchange_id": st.sampled_from(["KRAKEN", "LMAX", None])},
    ),
    max_leaves=4,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(ROWS, max_size=5))
def test_a_list_with_an_open_order_of_this_exchange_is_never_read_as_empty(
    rows: list[object],
) -> None:
    orders = read(rows)
    definite = [
        item
        for item in rows
        if isinstance(item, dict)
        and item.get("exchange_id") == "KRAKEN"
        and "data" not in item
        and item.get("status") not in ("FILLED", "CANCELED", "REJECTED")
    ]
    assert orders.count("KRAKEN") >= len(definite)
    if definite:
        assert orders.readable


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 999))
def test_no_bytes_raise(body: bytes, status: int) -> None:
    orders = read(body=body, http_status=status)
    assert orders.readable is False or json.loads(body.decode("utf-8-sig")) is not None
