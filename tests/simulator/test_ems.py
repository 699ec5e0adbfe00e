"""The EMS's own calls, without scripted faults."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import cancel_all, eventually, open_orders, send_request

_NEW_ORDER = {
    "exchange_id": "KRAKEN",
    "client_order_id": "mine-1",
    "symbol_id_exchange": "XBTUSD",
    "amount_order": 0.5,
    "price": 64000.5,
    "side": "BUY",
    "order_type": "LIMIT",
    "time_in_force": "GOOD_TILL_CANCEL",
}


def test_a_cancel_is_acknowledged_at_once_and_carried_out_afterwards(simulator: Simulator) -> None:
    simulator.place("KRAKEN/JOHN", 12)
    answer = cancel_all(simulator, "KRAKEN/JOHN")
    assert answer.status == 200
    assert answer.json == {
        "type": "message",
        "severity": "INFO",
        "exchange_id": "KRAKEN/JOHN",
        "message": "Ok",
    }
    pending = open_orders(simulator, "KRAKEN/JOHN").json
    assert {order["status"] for order in pending} <= {"PENDING_CANCEL"}
    eventually(lambda: simulator.really_open("KRAKEN/JOHN") == 0)
    assert open_orders(simulator, "KRAKEN/JOHN").json == []


def test_a_cancel_reaches_exactly_the_exchange_that_it_names(simulator: Simulator) -> None:
    for exchange_id in ("KRAKEN", "KRAKEN/JOHN", "kraken"):
        simulator.place(exchange_id, 2)
    cancel_all(simulator, "KRAKEN")
    eventually(lambda: simulator.really_open("KRAKEN") == 0)
    assert simulator.really_open("KRAKEN/JOHN") == simulator.really_open("kraken") == 2


@pytest.mark.parametrize("exchange_id", ["KRAKEN", "BITSTAMP/2574", r"A~.,:;\!@#$%^&*-_+=B", "ÅÄ"])
def test_a_list_is_of_one_exchange_or_of_all(simulator: Simulator, exchange_id: str) -> None:
    simulator.place("OTHER", 3)
    ids = simulator.place(exchange_id, 2)
    rows = open_orders(simulator, exchange_id).json
    assert [row["client_order_id"] for row in rows] == ids
    assert {row["exchange_id"] for row in rows} == {exchange_id}
    assert len(open_orders(simulator).json) == 5


def test_a_new_order_rests_and_is_reported(simulator: Simulator) -> None:
    answer = send_request(simulator, method="POST", path="/v1/orders", body=_NEW_ORDER)
    assert answer.status == 200
    assert answer.json["status"] == "NEW"
    assert answer.json["price"] == 64000.5
    assert simulator.open_ids("KRAKEN") == ["mine-1"]
    assert open_orders(simulator, "KRAKEN").json == [answer.json]


@pytest.mark.parametrize("missing", ["exchange_id", "price", "side"])
def test_an_order_that_lacks_a_field_is_a_validation_error(
    simulator: Simulator, missing: str
) -> None:
    body = {name: value for name, value in _NEW_ORDER.items() if name != missing}
    answer = send_request(simulator, method="POST", path="/v1/orders", body=body)
    assert answer.status == 400
    assert answer.json["traceId"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"exchange_id": 7}', b"\xff", b"[" * 100_000]
)
def test_a_cancel_that_names_no_exchange_is_a_validation_error(
    simulator: Simulator, body: bytes
) -> None:
    simulator.place("KRAKEN", 1)
    answer = send_request(simulator, method="POST", path="/v1/orders/cancel/all", body=body)
    assert answer.status == 400
    assert simulator.really_open("KRAKEN") == 1


def test_unknown_calls_are_refused(simulator: Simulator) -> None:
    assert send_request(simulator, method="GET", path="/v1/balances").status == 404
    assert send_request(simulator, method="GET", path="/v1/orders/cancel/all").status == 405
    plain = {"Content-Type": "text/plain"}
    assert cancel_all(simulator, "KRAKEN", headers=plain).status == 415


def test_with_a_key_every_other_key_is_refused_and_cancels_no_order() -> None:
    with Simulator(key="right") as simulator:
        simulator.place("KRAKEN", 3)
        for headers in ({}, {"X-CoinAPI-Key": "wrong"}, {"X-CoinAPI-Key": "rightt"}):
            answer = cancel_all(simulator, "KRAKEN", headers=headers)
            assert (answer.status, answer.json) == (401, {"error": "Invalid API key"})
        assert {call.fault for call in simulator.calls("KRAKEN")} == {"wrong_key"}
        assert simulator.really_open("KRAKEN") == 3
        assert cancel_all(simulator, "KRAKEN", headers={"X-CoinAPI-Key": "right"}).status == 200
        eventually(lambda: simulator.really_open("KRAKEN") == 0)


def test_a_call_is_recorded_as_it_was_received(simulator: Simulator) -> None:
    cancel_all(simulator, "KRAKEN/JOHN", headers={"X-CoinAPI-Key": "k"})
    open_orders(simulator, "KRAKEN/JOHN")
    (call,) = simulator.calls("KRAKEN/JOHN")
    assert json.loads(call.body) == {"exchange_id": "KRAKEN/JOHN"}
    assert call.headers["x-coinapi-key"] == "k"
    assert (call.method, call.path, call.query) == ("POST", "/v1/orders/cancel/all", "")
    assert (call.fault, call.carried_out) == ("ok", True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", call.received_at)
    (read,) = simulator.calls("KRAKEN/JOHN", method="GET")
    assert read.query == "exchange_id=KRAKEN%2FJOHN"
    assert read.received_monotonic > call.received_monotonic
    assert not read.carried_out


def test_counts_are_exact_under_fifty_calls_at_once(simulator: Simulator) -> None:
    simulator.place("KRAKEN", 30)
    simulator.script("KRAKEN", cancel=["acknowledged_only"] * 49 + [{"fault": "partial"}])
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: cancel_all(simulator, "KRAKEN").status, range(50)))
    assert answers == [200] * 50
    calls = simulator.calls("KRAKEN")
    assert [call.seq for call in calls] == list(range(1, 51))
    assert sum(call.carried_out for call in calls) == 1
    eventually(lambda: simulator.really_open("KRAKEN") == 3)


def test_fifty_exchanges_at_once_are_kept_apart(simulator: Simulator) -> None:
    names = [f"EXCHANGE/{number}" for number in range(50)]
    for name in names:
        simulator.place(name, 4)
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda name: cancel_all(simulator, name).json, names))
    assert [answer["exchange_id"] for answer in answers] == names
    assert all(len(simulator.calls(name)) == 1 for name in names)
    eventually(lambda: open_orders(simulator).json == [])
