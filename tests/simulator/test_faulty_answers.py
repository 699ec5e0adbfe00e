"""Every fault that is another answer sends the answer that was scripted."""

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import cancel_all, eventually, open_orders

_REASONS = [
    "OTHER",
    "EXCHANGE_UNREACHABLE",
    "EXCHANGE_RESPONSE_TIMEOUT",
    "ORDER_ID_NOT_FOUND",
    "INVALID_TYPE",
    "METHOD_NOT_SUPPORTED",
    "JSON_ERROR",
    "A_REASON_OF_THE_FUTURE",
]


@pytest.mark.parametrize("status", [200, 490, 504])
@pytest.mark.parametrize("reason", _REASONS)
def test_a_reject_has_its_reason_and_its_status(
    simulator: Simulator, reason: str, status: int
) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "reject", "reason": reason, "status": status}])
    answer = cancel_all(simulator, "KRAKEN")
    assert answer.status == status
    assert answer.json["type"] == "MESSAGE_REJECT"
    assert answer.json["reject_reason"] == reason
    assert "KRAKEN" in answer.json["rejected_message"]


def test_a_reject_may_have_no_reason(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["reject"])
    assert "reject_reason" not in cancel_all(simulator, "KRAKEN").json


@pytest.mark.parametrize("severity", ["INFO", "WARNING", "ERROR", "NOVEL"])
def test_a_message_has_its_severity(simulator: Simulator, severity: str) -> None:
    fault = {"fault": "message", "severity": severity, "message": "a text"}
    simulator.script("KRAKEN", cancel=[fault], orders=2)
    answer = cancel_all(simulator, "KRAKEN").json
    assert (answer["severity"], answer["message"]) == (severity, "a text")
    assert simulator.calls("KRAKEN")[0].carried_out is (severity != "ERROR")


def test_a_message_is_an_information_unless_its_fault_names_another_severity(
    simulator: Simulator,
) -> None:
    simulator.script("KRAKEN", cancel=["message"])
    assert cancel_all(simulator, "KRAKEN").json["severity"] == "INFO"


def test_a_message_may_have_no_severity(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "message", "severity": None}])
    assert set(cancel_all(simulator, "KRAKEN").json) == {"type", "exchange_id", "message"}


@pytest.mark.parametrize("shape", ["string", "object"])
def test_a_validation_error_has_both_shapes_of_errors(simulator: Simulator, shape: str) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "bad_request", "errors": shape}])
    answer = cancel_all(simulator, "KRAKEN")
    assert answer.status == answer.json["status"] == 400
    assert isinstance(answer.json["errors"], str if shape == "string" else dict)


@pytest.mark.parametrize(
    ("fault", "status"), [("unauthorised", 401), ("forbidden", 403), ("not_found", 404)]
)
def test_a_refusal_has_its_status_and_cancels_no_order(
    simulator: Simulator, fault: str, status: int
) -> None:
    simulator.script("KRAKEN", cancel=[fault], orders=2)
    answer = cancel_all(simulator, "KRAKEN")
    assert answer.status == status
    assert answer.json["error"]
    assert not simulator.calls("KRAKEN")[0].carried_out


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_the_page_of_a_proxy(simulator: Simulator, status: int) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "server_error", "status": status}])
    answer = cancel_all(simulator, "KRAKEN")
    assert answer.status == status
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_leads_elsewhere(simulator: Simulator, status: int) -> None:
    target = "http://127.0.0.1:9/trap"
    simulator.script("KRAKEN", cancel=[{"fault": "redirect", "status": status, "location": target}])
    answer = cancel_all(simulator, "KRAKEN")
    assert (answer.status, answer.headers["location"]) == (status, target)


def test_too_many_may_have_a_pause_in_seconds_as_a_date_or_no_pause(
    simulator: Simulator,
) -> None:
    simulator.script(
        "KRAKEN",
        cancel=[
            "too_many",
            {"fault": "too_many", "retry_after": "3"},
            {"fault": "too_many", "retry_after_date": 3},
        ],
    )
    never, seconds, date = (cancel_all(simulator, "KRAKEN") for _ in range(3))
    assert {never.status, seconds.status, date.status} == {429}
    assert "retry-after" not in never.headers
    assert seconds.headers["retry-after"] == "3"
    assert parsedate_to_datetime(date.headers["retry-after"]).tzinfo is not None


def test_answers_that_are_not_a_known_message(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["empty", "unknown_shape", "not_json"])
    empty, unknown, page = (cancel_all(simulator, "KRAKEN") for _ in range(3))
    assert (empty.status, empty.body) == (200, b"")
    assert "type" not in unknown.json
    assert page.body.startswith(b"<html>")


def test_an_oversized_answer_is_valid_and_as_large_as_requested(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "oversized", "bytes": 3_000_000}])
    simulator.script("KRAKEN", list=[{"fault": "oversized", "bytes": 5_000_000}])
    answer = cancel_all(simulator, "KRAKEN")
    assert len(answer.body) == 3_000_000
    assert answer.json["severity"] == "INFO"
    assert len(open_orders(simulator, "KRAKEN").body) == 5_000_000


_HOSTILE = [
    ("nul", b"\\u0000"),
    ("surrogate", b"\\ud800"),
    ("utf8", b"\xff\xc3\x28"),
    ("huge", b"x" * 4000),
    ("html", b"<script>"),
    ("deep", b"[" * 4000),
]


@pytest.mark.parametrize(("kind", "expected"), _HOSTILE)
def test_a_hostile_body_has_its_payload_in_the_reject_and_in_the_list(
    simulator: Simulator, kind: str, expected: bytes
) -> None:
    fault = {"fault": "hostile", "kind": kind, "length": 4000}
    simulator.script("KRAKEN", cancel=[fault | {"reason": "OTHER"}], list=[fault])
    assert expected in cancel_all(simulator, "KRAKEN").body
    assert expected in open_orders(simulator, "KRAKEN").body


def test_the_list_may_come_in_groups(simulator: Simulator) -> None:
    simulator.place("KRAKEN", 2)
    simulator.place("BINANCE", 1)
    simulator.script("KRAKEN", list=["grouped"])
    simulator.script("*", list=[{"fault": "grouped", "by": "exchange_name"}])
    (group,) = open_orders(simulator, "KRAKEN").json
    assert (group["exchange_id"], len(group["data"])) == ("KRAKEN", 2)
    groups = open_orders(simulator).json
    assert {group["exchange_name"]: len(group["data"]) for group in groups} == {
        "KRAKEN": 2,
        "BINANCE": 1,
    }


def test_any_other_answer_can_be_sent_raw(simulator: Simulator) -> None:
    fault: dict[str, Any] = {"fault": "raw", "status": 299, "headers": {"X-Odd": "1"}}
    in_base64 = {"fault": "raw", "body_base64": "AP8=", "carried_out": False}
    simulator.script("KRAKEN", cancel=[fault | {"body": "{nope"}, in_base64])
    first, second = cancel_all(simulator, "KRAKEN"), cancel_all(simulator, "KRAKEN")
    assert (first.status, first.body, first.headers["x-odd"]) == (299, b"{nope", "1")
    assert second.body == b"\x00\xff"
    assert [call.carried_out for call in simulator.calls("KRAKEN")] == [True, False]


def test_each_call_consumes_one_fault_and_the_last_may_stay(simulator: Simulator) -> None:
    simulator.script(
        "KRAKEN",
        cancel=["forbidden", "ok"],
        list=["not_found", {"fault": "server_error", "repeat": True}],
    )
    assert [cancel_all(simulator, "KRAKEN").status for _ in range(3)] == [403, 200, 200]
    assert [open_orders(simulator, "KRAKEN").status for _ in range(4)] == [404, 500, 500, 500]


def test_a_list_that_fails_for_one_exchange_still_works_for_all(simulator: Simulator) -> None:
    simulator.place("KRAKEN", 2)
    simulator.script("KRAKEN", list=[{"fault": "server_error", "repeat": True}])
    assert open_orders(simulator, "KRAKEN").status == 500
    assert len(open_orders(simulator).json) == 2
    simulator.script("*", list=["not_json"])
    assert open_orders(simulator).body.startswith(b"<html>")
    assert open_orders(simulator, "OTHER").status == 200


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("ok", 0),
        ({"fault": "partial", "leaves": 3}, 3),
        ({"fault": "come_back", "after": 0.1}, 8),
        ("return_to_new", 8),
        ("acknowledged_only", 8),
        ({"fault": "reject", "carried_out": True}, 0),
        ({"fault": "server_error", "carried_out": True}, 0),
    ],
)
def test_the_orders_really_open_afterwards_are_as_the_fault_says(
    simulator: Simulator, fault: Any, left: int
) -> None:
    simulator.script("KRAKEN", cancel=[fault], orders=8)
    cancel_all(simulator, "KRAKEN")

    def is_settled() -> bool:
        statuses = {order["status"] for order in open_orders(simulator, "KRAKEN").json}
        return simulator.really_open("KRAKEN") == left and statuses <= {"NEW"}

    eventually(is_settled)
    assert len(open_orders(simulator, "KRAKEN").json) == left
