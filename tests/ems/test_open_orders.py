"""Open orders are counted, and anything unclear counts as open or makes the list unreadable."""

import json
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.ems.foreign_json import MAX_VALUES
from killswitch.ems.open_orders import OpenOrders, read_open_orders

OPEN = ["RECEIVED", "ROUTING", "ROUTED", "NEW", "PENDING_CANCEL", "PARTIALLY_FILLED"]


def read(
    document: object = None,
    *,
    exchange_id: str | None = "KRAKEN",
    http_status: int = 200,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    complete: bool = True,
) -> OpenOrders:
    return read_open_orders(
        exchange_id=exchange_id,
        http_status=http_status,
        headers=headers or {},
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
        {"exchange_name": "KRAKEN", "data": None},
        {"exchange_id": "KRAKEN", "data": [5]},
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
def test_what_is_not_an_order_makes_the_list_unreadable(stray: object) -> None:
    orders = read([stray, row(exchange_id="BINANCE")])
    assert not orders.readable
    assert orders.error
    assert orders.count("BINANCE") == 1
    assert read([stray, row()]).readable
    assert not read([stray, row()], exchange_id=None).readable


ODD_ROWS = [
    b'{"status":"NEW"}',
    b'{"exchange_id":"","status":"NEW"}',
    b'{"exchange_id":5,"status":"NEW"}',
    b'{"exchange_id":null,"price":1}',
    b'{"symbol_id_exchange":"XBT"}',
    b'{"exchange_id":"KRA\xffKEN","status":"NEW"}',
    b'{"exchange_id":"KRAKEN","exchange_id":"LMAX","status":"NEW"}',
    b'{"a":1,"a":2}',
    b'{"exchange_id":"KRAKEN","price":01}',
    b'{"exchange_id":"KRAKEN","avg_px":nan}',
    b'{"data":[{"status":"NEW"}]}',
    b'{"exchange_id":"KRAKEN","data":[{"exchange_id":7,"status":"NEW"}]}',
]


@pytest.mark.parametrize("odd_row", ODD_ROWS)
def test_a_row_without_a_definite_exchange_counts_for_the_exchange_that_was_asked_for(
    odd_row: bytes,
) -> None:
    closed = b'{"exchange_id":"KRAKEN","status":"CANCELED"}'
    one = read(body=b"[" + odd_row + b"," + closed + b"]")
    assert (one.readable, one.count("KRAKEN")) == (True, 1)
    assert one.error
    other = json.dumps(row(exchange_id="BINANCE")).encode()
    every = read(body=b"[" + odd_row + b"," + other + b"]", exchange_id=None)
    assert (every.readable, every.count("BINANCE")) == (False, 1)
    assert every.error


@pytest.mark.parametrize(
    "defect",
    [b'"avg_px":NaN', b'"avg_px":-Infinity', b'"text":"M\xfcller"', b'"price":1,"price":2'],
)
@pytest.mark.parametrize(("status", "count"), [(b"NEW", 1), (b"CANCELED", 0)])
def test_a_defect_in_another_field_changes_nothing(
    defect: bytes, status: bytes, count: int
) -> None:
    body = b'[{"exchange_id":"KRAKEN","status":"' + status + b'",' + defect + b"}]"
    for exchange_id in ("KRAKEN", None):
        orders = read(body=body, exchange_id=exchange_id)
        assert (orders.readable, orders.count("KRAKEN"), orders.error) == (True, count, "")


def test_a_closed_row_is_closed_whatever_its_exchange() -> None:
    rows = [{"status": "CANCELED"}, row(exchange_id=None, status="FILLED")]
    assert read(rows).readable
    assert read(rows, exchange_id=None).readable


def test_a_row_with_two_statuses_is_open() -> None:
    body = b'[{"exchange_id":"KRAKEN","status":"NEW","status":"CANCELED"}]'
    assert read(body=body).count("KRAKEN") == 1


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"Ok", b"[", b"[x]", b"[" * 9999])
def test_a_body_that_is_not_a_list_is_not_readable(body: bytes) -> None:
    orders = read(body=body)
    assert (orders.readable, orders.count("KRAKEN")) == (False, 0)
    assert orders.error


def test_a_refused_order_is_an_order_also_when_it_says_why() -> None:
    assert read([row(reject_reason="OTHER", type="MESSAGE_REJECT")]).count("KRAKEN") == 1


GOOD_HEADERS = [
    {},
    {"Age": "0", "Link": '<https://ems/>; rel="self"'},
    {"Link": '<x>; rel="prev"; title="next"'},
    {"Warning": '299 - "Deprecated"'},
    {"X-Total-Count": "0"},
    {"X-Total-Count": "0", "X-Page": "1", "X-Per-Page": "100", "X-Total-Pages": "1"},
    {"X-Has-More": "false", "X-Next-Page": "", "X-Next-Cursor": "null"},
    {"X-Account-Id": "17", "Retry-After": "2", "X-RateLimit-Count": "99", "X-Total-Time": "12"},
    {"X-Cache": "MISS from proxy.hitachi.example", "X-Cache-Hits": "0"},
    {"X-Cache-Status": "BYPASS", "CF-Cache-Status": "DYNAMIC", "X-Varnish": "32770"},
    {"X-Cache": "Miss from cloudfront", "X-Cache-Key": "/v1/orders", "Cache-Control": "no-store"},
    {"Cache-Status": "edge; fwd=uri-miss", "X-Proxy-Cache": "EXPIRED"},
    {"Content-Type": "application/json", "Server-Timing": "total;dur=12"},
    {"X-Cache": "PRIVATE_NOSTORE", "X-Cache-Info": "L1_T2", "x-envoy-attempt-count": "1"},
    {"X-Cache": "N/A", "X-No-Cache": "1", "X-Cache-TTL": "0.000", "X-Cache-Age": "0"},
    {"Akamai-Cache-Status": "NotCacheable from child", "X-Check-Cacheable": "YES"},
    {"X-Cache": "hit-for-miss", "X-Varnish": "1, 2", "X-ARR-Cache-Hit": "0"},
    {"X-Cache": "LambdaGeneratedResponse from cloudfront", "X-Request-Count": "17"},
    {"X-Cache": "SKIP", "X-Mod-Pagespeed": "1.13", "Content-Range": "*/0", "Via": "1.1 google"},
    {"X-Pagination": '{"TotalCount":0,"PageSize":50,"CurrentPage":1,"HasNext":false}'},
    {"Content-Length": "2", "Expires": "0", "Last-Modified": "Sun, 29 Nov 2026 10:00:00 GMT"},
    {"X-Attempt-Count": "1", "X-Throttle-Count": "3", "X-Retry-Count": "0"},
]
DOUBTFUL_HEADERS = [
    {"Age": "7"},
    {"age": "nonsense"},
    {"Link": '<https://ems/?page=2>; rel="next", <https://ems/>; rel="first"'},
    {"LINK": "<x>; rel = next"},
    {"Link": '<x>; rel="prev next"'},
    {"Content-Range": "orders 0-0/7"},
    {"Warning": '110 - "Response is Stale"'},
    {"X-Total-Count": "120"},
    {"total": "120"},
    {"X-Total-Count": "many"},
    {"X-Count": "1"},
    {"X-Account-Orders-Count": "3"},
    {"X-Total-Pages": "2"},
    {"X-Page": "2"},
    {"X-Page": "1 of 2"},
    {"X-Per-Page": "0"},
    {"X-Next-Page": "2"},
    {"X-Has-More": "true"},
    {"X-Next-Cursor": "eyJpZCI6MX0="},
    {"Cursor": "17"},
    {"X-After": "17"},
    {"X-Truncated": "1"},
    {"X-Partial-Result": "yes"},
    {"X-Cache": "HIT"},
    {"X-Cache": "HIT, MISS"},
    {"X-Cache": "TCP_MEM_HIT from a1"},
    {"X-Cache": "RefreshHit from cloudfront"},
    {"X-Cache-Status": "STALE"},
    {"X-Cache-Status": "UPDATING"},
    {"X-Cache-Status": "REVALIDATED"},
    {"CF-Cache-Status": "HIT"},
    {"X-Proxy-Cache": "hit"},
    {"X-Cache-Hits": "0, 3"},
    {"X-Varnish": "32770 3"},
    {"Cache-Status": "edge; hit"},
    {"X-Cached": "yes"},
    {"X-Symfony-Cache": "GET /v1/orders: fresh"},
    {"X-Vercel-Cache": "PRERENDER"},
    {"X-Pagination": '{"TotalCount":120,"PageSize":50,"HasNext":true}'},
    {"Paging-Headers": '{"totalCount":120}'},
    {"X-Paging": "total=120"},
    {"X-Content-Range": "orders 0-0/120"},
    {"Items-Range": "0-0/120"},
    {"x-ms-continuation": "abc"},
    {"X-Incomplete-Results": "true"},
    {"X-Complete": "false"},
    {"X-Is-Last": "false"},
    {"X-Remaining": "119"},
    {"X-Records": "120"},
    {"X-Items": "120"},
    {"X-Offset": "100"},
    {"X-Next-Page-Time": "2"},
    {"X-Total-Count-Ms": "120"},
    {"Server-Timing": "cdn-cache; desc=HIT"},
    {"Via": "http/1.1 proxy (ApacheTrafficServer [cHs f ])"},
    {"X-Edge-Status": "HIT"},
    {"X-Served-From": "cache"},
    {"X-Stale": "true"},
    {"Warning": '299 - "stale replica"'},
    {"X-Total-Count": "1" * 5000},
    {"X-Cache": "_" * 60_000},
    {"page" * 15_000: "2"},
]


@pytest.mark.parametrize("headers", GOOD_HEADERS)
@pytest.mark.parametrize("exchange_id", ["KRAKEN", None])
def test_an_empty_list_that_nothing_contradicts_is_empty(
    headers: dict[str, str], exchange_id: str | None
) -> None:
    orders = read([], headers=headers, exchange_id=exchange_id)
    assert (orders.readable, orders.error) == (True, "")


@pytest.mark.parametrize("headers", DOUBTFUL_HEADERS)
def test_a_header_that_tells_of_more_rows_or_of_a_cache_proves_no_emptiness(
    headers: dict[str, str],
) -> None:
    for exchange_id in ("KRAKEN", None):
        orders = read([], headers=headers, exchange_id=exchange_id)
        assert not orders.readable
        assert orders.error
    with_order = read([row()], headers={"Other": "x", **headers})
    assert (with_order.readable, with_order.count("KRAKEN")) == (True, 1)


def test_a_header_may_count_the_rows_or_the_groups() -> None:
    closed = {"client_order_id": "c1", "status": "FILLED"}
    groups = [{"exchange_id": name, "data": [closed] * 2} for name in ("A", "B")]
    for count, readable in (("2", True), ("4", True), ("3", False)):
        assert read(groups, headers={"X-Total-Count": count}).readable is readable
    empty: list[object] = [{"exchange_id": name, "data": []} for name in ("A", "B")]
    for count, readable in (("0", True), ("2", False)):
        assert read(empty, headers={"X-Total-Count": count}).readable is readable


@pytest.mark.parametrize(
    "fields",
    [
        {"total": 120, "truncated": True},
        {"total": "120"},
        {"count": 1},
        {"totalCount": 120},
        {"total_records": 120},
        {"has_more": True},
        {"hasMore": 1},
        {"next": "https://ems/?page=2"},
        {"nextPageToken": "x"},
        {"next_cursor": "x"},
        {"paging": {"cursors": {"after": "x"}}},
        {"meta": {"pagination": {"total": 120}}},
        {"links": {"next": {"href": "x", "more": True}}},
        {"partial": True},
        {"page": 2},
        {"pages": 3},
        {"items": [{"status": "NEW"}]},
        {"orders": [{"status": "NEW"}]},
        {"orders": {"1": {"status": "NEW"}}},
        {"complete": False},
        {"is_last": False},
        {"remaining": 119},
        {"pagination": "1/12"},
        {"continuation": "abc"},
        {"error_message": "session logged out"},
        {"warning": "not connected"},
        {"message": "exchange not connected"},
        {"severity": "CRITICAL"},
        {"type": "ERROR"},
        {"connected": False},
        {"stale": True},
        {"from_cache": True},
        {"age": 300},
    ],
)
def test_a_group_that_announces_more_rows_proves_no_emptiness(fields: dict[str, object]) -> None:
    orders = read([{"exchange_id": "KRAKEN", "data": [], **fields}])
    assert not orders.readable
    assert orders.error


@pytest.mark.parametrize(
    "fields",
    [
        {"total": 0, "truncated": False, "next": None, "cursor": "", "has_more": False},
        {"count": 0, "page": 1, "pages": 1, "per_page": 100},
        {"meta": {"total": "0", "next": []}},
        {"account": 17, "time": "2026", "columns": ["a", "b"], "total": 0.0},
        {"error": "", "errors": {}, "warning": None, "severity": "INFO", "connected": True},
        {"exchange_name": "Kraken", "complete": True, "stale": False},
    ],
)
def test_a_group_whose_figures_agree_with_its_rows_is_empty(fields: dict[str, object]) -> None:
    orders = read([{"exchange_id": "KRAKEN", "data": [], **fields}])
    assert (orders.readable, orders.error) == (True, "")


def test_a_group_with_a_field_of_several_values_proves_no_emptiness() -> None:
    body = b'[{"exchange_id":"KRAKEN","total":0,"total":120,"data":[]}]'
    assert not read(body=body).readable


def test_rows_of_another_exchange_in_a_group_prove_no_emptiness() -> None:
    orders = read([{"exchange_id": "KRAKEN", "data": [row(exchange_id="KRAKENSPOT")]}])
    assert (orders.readable, orders.counts) == (False, {"KRAKENSPOT": 1})


@pytest.mark.parametrize(
    "failure",
    [
        {"type": "MESSAGE_REJECT", "reject_reason": "OTHER", "status": "REJECTED"},
        {"error": "down", "status": "REJECTED"},
        {"status": "REJECTED", "data": [{"exchange_id": "KRAKEN", "status": "NEW"}]},
    ],
)
def test_a_failure_is_not_a_closed_order(failure: dict[str, object]) -> None:
    orders = read([{"exchange_id": "KRAKEN", **failure}])
    assert not orders.readable or orders.count("KRAKEN") == 1


@pytest.mark.parametrize(
    "body",
    [
        b'[{"' + b'\\"' * 20_000,
        b'[{"a" "' + b"x" * 4_000_000 + b'"}]',
        b"[" + b'{"a":01},' * 100_000 + b"{}]",
        b'[{"a":' + b"[" * 500_000,
    ],
)
def test_a_broken_list_takes_no_long_time(body: bytes) -> None:
    before = time.process_time()
    orders = read(body=body)
    assert time.process_time() - before < 5
    assert not orders.readable or orders.count("KRAKEN")


def test_a_long_refusal_is_not_read_whole() -> None:
    body = b'{"a":[' + b"1," * 2_000_000 + b"1]}"
    tracemalloc.start()
    try:
        assert not read(body=body, http_status=503).readable
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_other_accounts_of_the_same_exchange_are_named() -> None:
    others = {"KRAKEN/JOHN": 3, "KRAKEN 2": 1, "kraken(a)": 1, "KRAKENFTS": 9, "LMAX/JOHN": 9}
    rows = [row(exchange_id=other) for other, count in others.items() for _ in range(count)]
    orders = read(rows)
    assert orders.count("KRAKEN") == 0
    assert orders.other_accounts("KRAKEN") == {"KRAKEN/JOHN": 3, "KRAKEN 2": 1, "kraken(a)": 1}
    assert orders.other_accounts("LMAX/ANN") == {"LMAX/JOHN": 9}


@pytest.mark.parametrize("status", [201, 204, 301, 401, 490, 500])
def test_only_a_200_is_readable(status: int) -> None:
    orders = read([], http_status=status)
    assert (orders.readable, orders.http_status) == (False, status)
    assert str(status) in orders.error


def test_a_refusal_keeps_its_texts() -> None:
    body = b'{"type":"MESSAGE_REJECT","reject_reason":"EXCHANGE_UNREACHABLE","message":"no"}'
    error = read(body=body, http_status=490).error
    assert error == "HTTP 490 (EXCHANGE_UNREACHABLE: no)"
    body = b'{"title":"Conflict","detail":"logging on","price":NaN}'
    assert read(body=body, http_status=409).error == "HTTP 409 (Conflict: logging on)"


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


def test_a_list_of_all_exchanges_keeps_the_first_orders_of_each() -> None:
    rows = [row(client_order_id=f"c{n}") for n in range(150)]
    group = {"exchange_id": "B", "data": [{"client_order_id": "c1", "status": "NEW"}]}
    orders = read([*rows, row(exchange_id="A/\x00"), row(status="FILLED"), group], exchange_id=None)
    assert (orders.readable, orders.orders) == (True, ())
    counts = [orders.count(exchange_id) for exchange_id in ("KRAKEN", "A/\x00", "B", "C")]
    assert counts == [150, 1, 1, 0]
    kept = [len(orders.first_orders(name)) for name in ("KRAKEN", "A/\x00", "B", "C")]
    assert kept == [100, 1, 1, 0]
    assert orders.first_orders("KRAKEN")[99].client_order_id == "c99"


def test_an_ems_that_invents_exchanges_does_not_fill_the_memory() -> None:
    rows = [row(exchange_id=f"X{n}") for n in range(10_500)]
    orders = read(rows, exchange_id=None)
    assert (orders.count("X0"), orders.count("X10499")) == (1, 1)
    assert sum(map(len, orders.orders_by_exchange.values())) == 10_000


def test_the_orders_of_a_list_for_one_exchange_are_its_own() -> None:
    orders = read([row(), row(exchange_id=None)])
    assert orders.first_orders("KRAKEN") == orders.orders
    assert len(orders.orders) == 2


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
        exchange_id="KRAKEN",
        http_status=200,
        headers={},
        body=body,
        complete=True,
        ends_at=late,
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


FIELDS: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    st.sampled_from(["total", "next", "has_more", "cursor", "page", "truncated", "note", "meta"]),
    st.sampled_from([0, 1, 2, 120, "0", "2", "", None, False, True, "x", {"total": 9}, []]),
    max_size=2,
)
GROUPS = st.builds(
    lambda rows, fields: {"exchange_id": "KRAKEN", **fields, "data": rows},
    st.lists(ROWS, max_size=2),
    FIELDS,
)
DEFECTS = st.sampled_from(["", "", "", "NaN", '"x":1,"x":2', "\x00", "\udcff", "}", "[", '"'])


@settings(max_examples=1500, deadline=None)
@given(
    items=st.lists(ROWS | GROUPS, max_size=3),
    headers=st.sampled_from([*GOOD_HEADERS, *DOUBTFUL_HEADERS]),
    defect=DEFECTS,
    at=st.integers(0, 300),
)
def test_no_list_with_an_open_order_a_doubt_or_a_next_page_is_empty(
    items: list[Any], headers: dict[str, str], defect: str, at: int
) -> None:
    text = json.dumps(items)
    body = (text[:at] + defect + text[at:]).encode("utf-8", "surrogateescape")
    orders = read(body=body, headers=headers)
    if not orders.readable or orders.count("KRAKEN"):
        return
    assert headers in GOOD_HEADERS
    try:
        document = json.loads(body.decode("utf-8", "replace"), strict=False)
    except ValueError:
        pytest.fail("a list that cannot be read was taken for an empty one")
    for item in document:
        assert isinstance(item, dict)
        rows = item.get("data", [item])
        assert item.get("total") in (None, "", [], len(rows), str(len(rows)))
        assert item.get("meta") != {"total": 9}
        for name in ("next", "has_more", "cursor", "truncated"):
            assert item.get(name) in (0, "0", "", None, False, [])
        assert item.get("page") in (0, 1, "0", "", None, False, [])
        for order in rows:
            owner = order.get("exchange_id") or item.get("exchange_id")
            closed = order.get("status") in ("FILLED", "CANCELED", "REJECTED")
            assert closed or owner not in ("KRAKEN", None, "", 5)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 999))
def test_no_bytes_raise(body: bytes, status: int) -> None:
    orders = read(body=body, http_status=status)
    assert orders.readable is False or body.lstrip().startswith((b"[", b"\xef\xbb\xbf"))
