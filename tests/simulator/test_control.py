"""The interface under `/_simulator/` works alike in this process and over HTTP."""

from typing import Any

import pytest

from killswitch.simulator.parameters import InvalidFault
from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import cancel_all, eventually, open_orders, send_request
from tests.simulator.remote import SimulatorRemote

Either = Simulator | SimulatorRemote


@pytest.fixture(params=["in this process", "over HTTP"])
def either(request: pytest.FixtureRequest, simulator: Simulator) -> Either:
    over_http = request.param == "over HTTP"
    return SimulatorRemote(simulator.url) if over_http else simulator


def test_orders_that_were_placed_are_really_open(either: Either) -> None:
    ids = either.place("KRAKEN/JOHN", 4)
    assert either.open_ids("KRAKEN/JOHN") == ids
    assert either.really_open("KRAKEN/JOHN") == 4
    assert either.really_open("KRAKEN") == 0


def test_a_script_places_orders_and_marks_the_calls_that_met_it(either: Either) -> None:
    fault = {"fault": "reject", "reason": "OTHER"}
    either.script("KRAKEN", cancel=[fault], list=["empty"], orders=3, tag="first")
    assert cancel_all(either, "KRAKEN").json["reject_reason"] == "OTHER"
    assert open_orders(either, "KRAKEN").body == b""
    cancel_all(either, "KRAKEN")
    calls = either.calls("KRAKEN")
    assert [(call.fault, call.tag) for call in calls] == [("reject", "first"), ("ok", "")]
    assert [call.carried_out for call in calls] == [False, True]
    assert [call.fault for call in either.calls(method=None)] == ["reject", "empty", "ok"]
    eventually(lambda: either.really_open("KRAKEN") == 0)


def test_a_later_script_replaces_only_what_it_names(either: Either) -> None:
    either.script("KRAKEN", cancel=["forbidden"], list=["not_found"])
    either.script("KRAKEN", cancel=[])
    assert cancel_all(either, "KRAKEN").status == 200
    assert open_orders(either, "KRAKEN").status == 404


def test_an_invalid_script_is_refused_and_has_no_effect(either: Either) -> None:
    with pytest.raises(InvalidFault, match="nonsense"):
        either.script("KRAKEN", cancel=["forbidden"], list=["nonsense"], orders=1)
    assert cancel_all(either, "KRAKEN").status == 200
    assert either.really_open("KRAKEN") == 0


def test_reset_and_lost_connections_are_the_same_from_outside(either: Either) -> None:
    either.place("KRAKEN", 1)
    assert either.forget_connections() >= 0
    either.reset()
    assert either.really_open("KRAKEN") == 0


def test_the_record_is_the_same_from_both_sides(simulator: Simulator) -> None:
    simulator.place("KRAKEN", 1)
    cancel_all(simulator, "KRAKEN", headers={"X-CoinAPI-Key": "kü"})
    open_orders(simulator)
    remote = SimulatorRemote(simulator.url)
    assert remote.calls(method=None) == simulator.calls(method=None)
    assert remote.calls("KRAKEN") == simulator.calls("KRAKEN")


def test_all_counts_are_in_one_answer(simulator: Simulator) -> None:
    simulator.place("A", 1)
    simulator.place("B", 2)
    counts = send_request(simulator, method="GET", path="/_simulator/open").json
    assert counts == {"counts": {"A": 1, "B": 2}}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("script", b"{"),
        ("script", b"[]"),
        ("script", {}),
        ("script", {"exchange_id": "A", "cancel": "silent"}),
        ("script", {"exchange_id": "A", "cancle": []}),
        ("orders", {"exchange_id": "A", "count": -1}),
        ("orders", {"exchange_id": "A", "count": 10**9}),
    ],
)
def test_an_invalid_instruction_is_answered_400_with_a_reason(
    simulator: Simulator, name: str, body: Any
) -> None:
    answer = send_request(simulator, method="POST", path=f"/_simulator/{name}", body=body)
    assert answer.status == 400
    assert answer.json["error"]


def test_an_unknown_instruction_is_not_found(simulator: Simulator) -> None:
    assert send_request(simulator, method="GET", path="/_simulator/nonsense").status == 404
    assert send_request(simulator, method="GET", path="/_simulator/reset").status == 404


def test_the_interface_needs_no_key_and_is_not_on_the_record() -> None:
    with Simulator(key="secret") as simulator:
        assert send_request(simulator, method="GET", path="/_simulator/calls").json == []
