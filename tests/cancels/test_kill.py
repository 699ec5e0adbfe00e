"""The whole kill against the simulated EMS: what it answered, and what is known in the end."""

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from killswitch.cancels.kill import SECOND_LOOK_S
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import (
    MAX_STORED_BODY_BYTES,
)
from killswitch.cancels.states import FINAL
from killswitch.ems.client import forget_client, get_client
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.cancels.kills import LIST_GONE, Fault, always, carry_out, reject

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "it behaves": ({}, "CONFIRMED", ""),
    "the answer is a warning": (
        {"cancel": always("message", severity="WARNING")},
        "CONFIRMED",
        "",
    ),
    "an ERROR message is a refusal": (
        {"cancel": always("message", severity="ERROR")},
        "REJECTED",
        "",
    ),
    "the answer is empty, the list decides": ({"cancel": always("empty")}, "CONFIRMED", ""),
    "the answer has no known shape": ({"cancel": always("unknown_shape")}, "CONFIRMED", ""),
    "the answer is not JSON": ({"cancel": always("not_json")}, "CONFIRMED", ""),
    "half a body": ({"cancel": always("half_body")}, "CONFIRMED", ""),
    "validation": ({"cancel": always("bad_request")}, "REJECTED", ""),
    "our key is wrong": ({"cancel": always("unauthorised")}, "REJECTED", ""),
    "forbidden": ({"cancel": always("forbidden")}, "REJECTED", ""),
    "not found": ({"cancel": always("not_found")}, "REJECTED", ""),
    "too many for ever": ({"cancel": always("too_many")}, "REJECTED", ""),
    "a redirect is never followed": ({"cancel": always("redirect")}, "RESIDUAL", ""),
    "a 502 is no proof": ({"cancel": always("server_error", status=502)}, "RESIDUAL", ""),
    "carried out, answered 502": (
        {"cancel": always("server_error", status=502, carried_out=True)},
        "CONFIRMED",
        "",
    ),
    "reset after reading, carried out": (
        {"cancel": always("reset", carried_out=True)},
        "CONFIRMED",
        "",
    ),
    "acknowledged, not carried out": ({"cancel": always("acknowledged_only")}, "RESIDUAL", ""),
    "acknowledged, list unreadable": ({"list": LIST_GONE}, "UNVERIFIED", ""),
    "silent, list unreadable": (
        {"cancel": always("silent"), "list": LIST_GONE},
        "UNKNOWN",
        "",
    ),
    "silent, list silent": (
        {"cancel": always("silent"), "list": always("silent")},
        "UNKNOWN",
        "",
    ),
    "unreachable with 490": (
        {"cancel": reject("EXCHANGE_UNREACHABLE", status=490)},
        "REJECTED",
        "EXCHANGE_UNREACHABLE",
    ),
    "OTHER": ({"cancel": reject("OTHER")}, "REJECTED", "OTHER"),
    "METHOD_NOT_SUPPORTED": (
        {"cancel": reject("METHOD_NOT_SUPPORTED")},
        "REJECTED",
        "METHOD_NOT_SUPPORTED",
    ),
    "ORDER_ID_NOT_FOUND": (
        {"cancel": reject("ORDER_ID_NOT_FOUND")},
        "REJECTED",
        "ORDER_ID_NOT_FOUND",
    ),
    "INVALID_TYPE": ({"cancel": reject("INVALID_TYPE")}, "REJECTED", "INVALID_TYPE"),
    "JSON_ERROR": ({"cancel": reject("JSON_ERROR")}, "REJECTED", "JSON_ERROR"),
    "a reason of the future": ({"cancel": reject("MOON_PHASE")}, "REJECTED", "MOON_PHASE"),
    "the exchange answered late, list not empty": (
        {"cancel": reject("EXCHANGE_RESPONSE_TIMEOUT")},
        "RESIDUAL",
        "EXCHANGE_RESPONSE_TIMEOUT",
    ),
    "the exchange answered late, carried out": (
        {"cancel": reject("EXCHANGE_RESPONSE_TIMEOUT", status=504, carried_out=True)},
        "CONFIRMED",
        "EXCHANGE_RESPONSE_TIMEOUT",
    ),
}


def test_every_fault_ends_in_the_status_that_is_proven(
    simulator: Simulator, press: Press, timeouts_for_many: None
) -> None:
    for name, (script, _, _) in CASES.items():
        simulator.script(name, orders=5, **script)
    requests = press(*CASES)
    carry_out(requests)
    rows = {request.exchange_id: request for request in CancelRequest.objects.all()}
    outcomes = {name: (request.status, request.reject_reason) for name, request in rows.items()}
    assert outcomes == {name: (status, reason) for name, (_, status, reason) in CASES.items()}
    for name, request in rows.items():
        assert request.conclusion, name
        calls = len(simulator.calls(name))
        assert request.attempts.count() == request.attempt_count == calls, name
        is_confirmed = request.status == "CONFIRMED"
        assert request.needs_attention != is_confirmed, name
        assert Alarm.objects.filter(request_id=str(request.uuid)).exists() != is_confirmed, name
        assert simulator.really_open(name) == 0 or not is_confirmed, name
        finished = AuditEvent.objects.get(kind="FINISHED", request_id=str(request.uuid))
        assert finished.status == request.status, name


def test_a_timeout_with_an_empty_list_is_confirmed_after_one_post(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", cancel=always("silent", carried_out=True), orders=5)
    request = carry_out(press("KRAKEN"))
    assert request.status == "CONFIRMED"
    assert len(simulator.calls("KRAKEN")) == 1
    assert [a.outcome for a in request.attempts.all()] == ["UNKNOWN"]


def test_the_orders_that_remain_are_stored(simulator: Simulator, press: Press) -> None:
    simulator.script("KRAKEN", cancel=always("partial", leaves=3), orders=8)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("RESIDUAL", 3)
    ids = {order.client_order_id for order in request.residual_orders.all()}
    assert ids == set(simulator.open_ids("KRAKEN"))
    assert Alarm.objects.get().title == "KRAKEN: 3 orders are still open."


def test_the_open_orders_of_an_exchange_are_updated_from_the_last_read(
    simulator: Simulator, press: Press
) -> None:
    simulator.place("KRAKEN", 2)
    requests = press("KRAKEN")
    Exchange.objects.update(open_orders=17)
    request = carry_out(requests)
    kraken = Exchange.objects.get()
    assert (kraken.open_orders, kraken.revision) == (0, request.revision)
    assert kraken.seen_at is not None
    assert request.open_after_read_at is not None
    assert kraken.seen_at <= request.open_after_read_at


def test_orders_of_another_account_are_not_counted(simulator: Simulator, press: Press) -> None:
    simulator.place("KRAKEN", 2)
    simulator.place("KRAKEN/JOHN", 4)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("CONFIRMED", 0)
    assert simulator.really_open("KRAKEN/JOHN") == 4


def test_every_read_is_counted_including_the_confirming_one(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", orders=0)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.reads) == ("CONFIRMED", 1)
    event = AuditEvent.objects.get(kind="FINISHED")
    data = json.loads(event.data)
    assert data["reads"] == 1
    assert data["list"] == {
        "http_status": 200,
        "error": "",
        "bytes": 2,
        "sha256": hashlib.sha256(b"[]").hexdigest(),
        "body": {"encoding": "utf-8", "text": "[]"},
        "body_cut": False,
    }


def test_a_closed_port_is_not_delivered(simulator: Simulator, press: Press, settings: Any) -> None:
    simulator.stop()
    request = carry_out(press("KRAKEN"))
    assert request.status == "NOT_DELIVERED"
    assert {a.outcome for a in request.attempts.all()} == {"NOT_DELIVERED"}
    assert request.attempt_count > 1


def test_a_refusal_that_passes_is_retried(simulator: Simulator, press: Press) -> None:
    simulator.script(
        "KRAKEN",
        cancel=[{"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490}, "ok"],
        orders=5,
    )
    request = carry_out(press("KRAKEN"))
    assert request.status == "CONFIRMED"
    assert [a.outcome for a in request.attempts.all()] == ["REJECTED", "ACKNOWLEDGED"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_tried_twice(
    simulator: Simulator, press: Press, settings: Any, status: int
) -> None:
    settings.CANCEL_DEADLINE = 12
    error = always("raw", status=status, body='{"error": "Invalid API key"}')
    simulator.script("KRAKEN", cancel=error, orders=5)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.message) == ("REJECTED", "Invalid API key")
    assert len(simulator.calls("KRAKEN")) == 2
    assert request.open_after == 5


REFUSALS: dict[str, Fault] = {
    "ORDER_ID_NOT_FOUND": {"fault": "reject", "reason": "ORDER_ID_NOT_FOUND"},
    "no reason": {"fault": "reject", "reason": None},
    "severity ERROR": {"fault": "message", "severity": "ERROR"},
    "one bad byte": {
        "fault": "raw",
        "carried_out": False,
        "body_base64": base64.b64encode(
            b'{"type":"MESSAGE_REJECT","reject_reason":"OTHER","message":"M\xfcller"}'
        ).decode(),
    },
    **{
        str(status): {"fault": "raw", "status": status, "body": '{"detail": "busy"}'}
        for status in (400, 404, 405, 408, 409, 410, 418, 421, 422, 425, 429, 451, 499)
    },
}


def test_whatever_was_refused_is_sent_again_while_orders_remain(
    simulator: Simulator, press: Press, timeouts_for_many: None, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 15
    for name, refusal in REFUSALS.items():
        simulator.script(name, cancel=[refusal, refusal, "ok"], orders=4)
    requests = press(*REFUSALS)
    carry_out(requests)
    for request in CancelRequest.objects.all():
        name = request.exchange_id
        assert (request.status, request.attempt_count) == ("CONFIRMED", 3), name
        assert simulator.really_open(name) == 0, name


def test_a_refused_request_is_sent_at_most_five_times(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    simulator.script("KRAKEN", cancel=reject("INVALID_TYPE"), orders=4)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.reject_reason) == ("REJECTED", "INVALID_TYPE")
    assert (request.attempt_count, request.open_after) == (5, 4)
    calls = simulator.calls("KRAKEN")
    assert calls[-1].received_monotonic - calls[0].received_monotonic > 4, "it did not back off"


def test_forty_flat_exchanges_that_refuse_are_one_post_each_and_no_alarm(
    simulator: Simulator, press: Press, timeouts_for_many: None
) -> None:
    names = [f"VENUE{number}" for number in range(40)]
    faults = [*REFUSALS.values(), *reject("OTHER"), *reject("EXCHANGE_UNREACHABLE", status=490)]
    for number, name in enumerate(names):
        simulator.script(name, cancel=[faults[number % len(faults)]])
    carry_out(press(*names))
    for request in CancelRequest.objects.all():
        assert (request.status, request.open_after) == ("REJECTED", 0)
        assert request.conclusion.startswith("Refused by the EMS. No open orders.")
        event = AuditEvent.objects.get(kind="FINISHED", request_id=str(request.uuid))
        assert json.loads(event.data)["list"]["body"]["text"] == "[]"
    assert len(simulator.calls()) == len(names)
    assert not Alarm.objects.exists()


FLAPPING: list[Fault] = [{"fault": "raw", "body": "[]"}, {"fault": "ok", "repeat": True}]


@pytest.mark.parametrize("cancel", [reject("OTHER"), always("server_error", status=503)])
def test_one_empty_list_is_no_proof_when_orders_were_listed_before(
    simulator: Simulator, press: Press, settings: Any, cancel: list[Fault]
) -> None:
    """A list may come from a replica that has not loaded the orders yet."""
    settings.CANCEL_DEADLINE = 8
    Exchange.objects.create(exchange_id="KRAKEN", open_orders=5, seen_at=datetime.now(UTC))
    simulator.script("KRAKEN", cancel=cancel, list=FLAPPING, orders=5)
    request = carry_out(press("KRAKEN"))
    assert request.attempt_count > 1
    assert request.open_after == 5
    assert request.needs_attention


def test_orders_that_are_gone_after_a_refusal_are_looked_for_twice(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 8
    Exchange.objects.create(exchange_id="KRAKEN", open_orders=5, seen_at=datetime.now(UTC))
    simulator.script("KRAKEN", cancel=reject("OTHER", carried_out=True), orders=5)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after, request.attempt_count) == ("REJECTED", 0, 1)
    assert not request.needs_attention
    reads = simulator.calls("KRAKEN", method="GET")
    assert reads[-1].received_monotonic - reads[-2].received_monotonic >= SECOND_LOOK_S - 0.1


def test_an_old_figure_does_not_show_that_the_list_was_empty_before(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 8
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    Exchange.objects.create(exchange_id="KRAKEN", open_orders=0, seen_at=an_hour_ago)
    simulator.script("KRAKEN", cancel=reject("OTHER"), list=FLAPPING, orders=5)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("REJECTED", 5)
    assert request.needs_attention


def test_a_refused_key_is_an_alarm_even_without_orders(simulator: Simulator, press: Press) -> None:
    simulator.script("KRAKEN", cancel=always("forbidden"))
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("REJECTED", 0)
    assert Alarm.objects.filter(request_id=str(request.uuid)).exists()


def test_an_ems_that_limits_reads_is_read_less_often(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 12
    limited = always("too_many")
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), list=limited, orders=1)
    carry_out(press("KRAKEN"))
    assert len(simulator.calls("KRAKEN", method="GET")) < 12


def test_the_reason_of_a_refusal_survives_answers_without_words(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 8
    wordless = {"fault": "raw", "status": 409, "body": "", "repeat": True}
    simulator.script("KRAKEN", cancel=["bad_request", wordless], orders=1)
    request = carry_out(press("KRAKEN"))
    assert "validation errors" in request.message


@pytest.mark.parametrize(
    "page",
    [
        {"body": "[]", "headers": {"X-Total-Count": "120"}},
        {"body": "[]", "headers": {"X-Cache": "HIT"}},
        {"body": '[{"exchange_id":"KRAKEN","total":120,"truncated":true,"data":[]}]'},
    ],
)
def test_a_page_or_a_copy_of_the_list_confirms_nothing(
    simulator: Simulator, press: Press, page: dict[str, Any]
) -> None:
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), list=always("raw", **page))
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("UNVERIFIED", None)


CANCELS: list[Fault] = [
    {"fault": "ok"},
    {"fault": "acknowledged_only"},
    {"fault": "server_error", "status": 502},
    {"fault": "reject", "reason": "ORDER_ID_NOT_FOUND"},
    {"fault": "reject", "reason": "EXCHANGE_RESPONSE_TIMEOUT"},
    {"fault": "bad_request"},
    {"fault": "reset"},
    {"fault": "empty"},
]
EMPTY_LIST: Fault = {"fault": "raw", "body": "[]"}
LISTS: list[Fault] = [
    EMPTY_LIST,
    {"fault": "raw", "body": '[{"exchange_id":"NAME","status":"NEW"}]'},
    {"fault": "raw", "body": '[{"status":"PENDING_CANCEL"}]'},
    {"fault": "raw", "body": "[]", "headers": {"X-Next-Page": "2"}},
    {"fault": "raw", "body": "[]", "headers": {"CF-Cache-Status": "HIT"}},
    {"fault": "raw", "body": '[{"exchange_id":"NAME","data":[],"total":3}]'},
    {"fault": "raw", "body": '[{"exchange_id":"NAME","price":01}]'},
    {"fault": "raw", "body": "[]", "status": 206},
    {"fault": "server_error", "status": 503},
    {"fault": "half_body"},
]


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_answers_confirms_unless_the_last_list_is_empty_beyond_doubt(
    simulator: Simulator, press: Press, timeouts_for_many: None, seed: int
) -> None:
    chance = random.Random(seed)
    lists: dict[str, list[Fault]] = {}
    for name in (f"VENUE{number}" for number in range(40)):
        cancels = chance.choices(CANCELS, k=chance.randint(1, 3))
        lists[name] = chance.choices(LISTS, k=chance.randint(1, 4))
        named = [
            {**fault, "body": fault["body"].replace("NAME", name)} if "body" in fault else fault
            for fault in lists[name]
        ]
        simulator.script(
            name,
            cancel=[*cancels[:-1], {**cancels[-1], "repeat": True}],
            list=[*named[:-1], {**named[-1], "repeat": True}],
            orders=2,
        )
    carry_out(press(*lists))
    for request in CancelRequest.objects.all():
        calls = simulator.calls(request.exchange_id, method=None)
        reads = sum(call.method == "GET" for call in calls)
        answers = lists[request.exchange_id]
        last_is_empty = calls[-1].method == "GET" and (
            answers[min(reads, len(answers)) - 1] is EMPTY_LIST
        )
        assert last_is_empty or request.status != "CONFIRMED", (seed, request.exchange_id)
        assert last_is_empty or not request.is_refused_while_flat, (seed, request.exchange_id)
    assert CancelRequest.objects.filter(status="CONFIRMED").exists()


def test_a_row_that_cannot_be_read_does_not_hide_the_others_and_does_not_end_the_repeats(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 12
    rows = '[{"exchange_id":"KRAKEN","status":"NEW","avg_px":NaN},{"status":"NEW"},{"price":01}]'
    odd_list = {"fault": "raw", "body": rows}
    simulator.script(
        "KRAKEN",
        cancel=["acknowledged_only", "ok"],
        list=[odd_list, *LIST_GONE],
        orders=5,
    )
    request = carry_out(press("KRAKEN"))
    assert request.attempt_count > 1
    assert simulator.really_open("KRAKEN") == 0
    assert request.status == "UNVERIFIED"


def test_without_a_list_an_accepted_cancel_is_not_sent_without_end(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 20
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), list=LIST_GONE, orders=5)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.attempt_count) == ("UNVERIFIED", 5)


def test_an_empty_list_before_and_after_an_unanswered_cancel_is_said(
    simulator: Simulator, press: Press
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN", open_orders=0, seen_at=datetime.now(UTC))
    simulator.script("KRAKEN", cancel=always("server_error", status=502))
    request = carry_out(press("KRAKEN"))
    assert "The list was empty before and is empty now." in request.conclusion


def test_open_orders_of_another_account_in_the_same_list_are_named(
    simulator: Simulator, press: Press
) -> None:
    row = '{"exchange_id":"KRAKEN/JOHN","status":"NEW"}'
    simulator.script("KRAKEN", list=always("raw", body=f"[{row},{row},{row}]"))
    request = carry_out(press("KRAKEN"))
    assert request.status == "CONFIRMED"
    assert "The same list has 3 open orders of KRAKEN/JOHN." in request.conclusion


def test_orders_that_remain_are_cancelled_again(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 8
    simulator.script("KRAKEN", cancel=["acknowledged_only", "ok"], orders=5)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.attempt_count) == ("CONFIRMED", 2)


def test_twenty_thousand_open_orders_are_counted_and_a_thousand_stored(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.EMS_TIMEOUT = 20  # a busy machine takes seconds to read the list
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), orders=20_000)
    request = carry_out(press("KRAKEN"))
    assert (request.status, request.open_after) == ("RESIDUAL", 20_000)
    assert request.residual_orders.count() == 1000


# What each hostile body proves, and how its hostile text is stored if it could be read.
HOSTILE: dict[str, tuple[str, str]] = {
    "nul": ("REJECTED", "before\\u0000after"),
    "surrogate": ("REJECTED", "before\\ud800after"),
    "utf8": ("REJECTED", "before\\udcff"),
    "huge": ("REJECTED", "x" * 3000),
    "html": ("REJECTED", "<"),
    "deep": ("RESIDUAL", ""),
}


def test_hostile_bodies_are_stored_and_prove_no_more_than_they_contain(
    simulator: Simulator, press: Press, timeouts_for_many: None
) -> None:
    for kind in HOSTILE:
        simulator.script(kind, cancel=always("hostile", kind=kind), orders=2)
    requests = press(*HOSTILE)
    carry_out(requests)
    for request in CancelRequest.objects.all():
        kind = request.exchange_id
        status, text = HOSTILE[kind]
        first = request.attempts.order_by("number")[0]
        assert request.status == status, kind
        assert text in first.message + first.rejected_message, kind
        body = get_client().cancel_all(kind).body
        assert bytes(first.body) == body[:MAX_STORED_BODY_BYTES], kind
        assert first.body_cut == (len(body) > MAX_STORED_BODY_BYTES), kind
        events = AuditEvent.objects.filter(kind="ATTEMPT", request_id=str(request.uuid))
        assert events.count() == request.attempt_count, kind


def test_hostile_lists_never_prove_that_no_orders_are_open(
    simulator: Simulator, press: Press, timeouts_for_many: None
) -> None:
    for kind in HOSTILE:
        hostile = always("hostile", kind=kind)
        simulator.script(kind, cancel=always("acknowledged_only"), list=hostile, orders=1)
    requests = press(*HOSTILE)
    carry_out(requests)
    for request in CancelRequest.objects.all():
        kind = request.exchange_id
        assert (request.status, request.open_after) == ("RESIDUAL", 1), kind
        assert request.residual_orders.count() == (0 if kind == "deep" else 1), kind


# What the first attempt stores: HTTP status, outcome, reason, may have been carried out.
STORED: dict[str, tuple[Fault, tuple[int | None, str, str, bool]]] = {
    "OK": ({"fault": "ok"}, (200, "ACKNOWLEDGED", "", False)),
    "EMPTY": ({"fault": "empty"}, (200, "UNKNOWN", "", True)),
    "SHAPE": ({"fault": "unknown_shape"}, (200, "UNKNOWN", "", True)),
    "NOT_JSON": ({"fault": "not_json"}, (200, "UNKNOWN", "", True)),
    "HALF": ({"fault": "half_body"}, (200, "UNKNOWN", "", True)),
    "ERROR": ({"fault": "message", "severity": "ERROR"}, (200, "REJECTED", "", False)),
    "REDIRECT": ({"fault": "redirect"}, (302, "UNKNOWN", "", True)),
    "400": ({"fault": "bad_request"}, (400, "REJECTED", "", False)),
    "401": ({"fault": "unauthorised"}, (401, "REJECTED", "", False)),
    "403": ({"fault": "forbidden"}, (403, "REJECTED", "", False)),
    "404": ({"fault": "not_found"}, (404, "REJECTED", "", False)),
    "429": ({"fault": "too_many"}, (429, "REJECTED", "", False)),
    "SILENT": ({"fault": "silent"}, (None, "UNKNOWN", "", True)),
    "RESET": ({"fault": "reset"}, (None, "UNKNOWN", "", True)),
    "CLOSE": ({"fault": "close"}, (None, "UNKNOWN", "", True)),
    **{
        f"{status}": ({"fault": "server_error", "status": status}, (status, "UNKNOWN", "", True))
        for status in (500, 502, 503, 504)
    },
    **{
        f"{reason}/{status}": (
            {"fault": "reject", "reason": reason, "status": status},
            (status, "REJECTED", reason, reason == "EXCHANGE_RESPONSE_TIMEOUT"),
        )
        for status in (200, 490, 504)
        for reason in (
            "OTHER",
            "EXCHANGE_UNREACHABLE",
            "EXCHANGE_RESPONSE_TIMEOUT",
            "ORDER_ID_NOT_FOUND",
            "INVALID_TYPE",
            "METHOD_NOT_SUPPORTED",
            "JSON_ERROR",
            "A_FUTURE_ONE",
        )
    },
}


def test_every_answer_is_stored_as_it_was_received(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    # All at once on a busy machine: an answer that comes late would be kept as none.
    settings.EMS_TIMEOUT = 2.0
    settings.EMS_CONNECT_TIMEOUT = 1.0
    settings.CANCEL_DEADLINE = 5
    for name, (fault, _) in STORED.items():
        simulator.script(name, cancel=[{**fault, "repeat": True}], orders=1)
    requests = press(*STORED)
    carry_out(requests)
    for request in requests:
        first = request.attempts.order_by("number")[0]
        stored = (first.http_status, first.outcome, first.reject_reason)
        assert (*stored, first.may_have_been_carried_out) == STORED[request.exchange_id][1]
        assert first.started_at is not None
        assert first.finished_at >= first.started_at
        assert bool(first.transport_error) == (first.http_status is None or first.body_cut)


def test_disabling_an_exchange_does_not_stop_its_request_in_flight(
    simulator: Simulator, press: Press
) -> None:
    simulator.place("KRAKEN", 2)
    requests = press("KRAKEN")
    Exchange.objects.update(enabled=False)
    assert carry_out(requests).status == "CONFIRMED"


@pytest.fixture
def simulator_that_cancels_at_once(settings: Any) -> Iterator[Simulator]:
    """Elsewhere an order is gone a moment after its cancel is acknowledged."""
    with Simulator(cancel_seconds=(0.0, 0.0)) as simulator:
        settings.EMS_BASE_URL = simulator.url
        forget_client()
        yield simulator
    forget_client()


def test_fifty_exchanges_get_one_post_each_from_one_message(
    simulator_that_cancels_at_once: Simulator, press: Press, timeouts_for_many: None
) -> None:
    # On a busy machine fifty results are recorded so slowly that the last list of orders which are
    # still open would be two seconds old, and then a cancel is sent again.
    simulator = simulator_that_cancels_at_once
    names = [f"VENUE{number}" for number in range(50)]
    for name in names:
        simulator.place(name, 2)
    requests = press(*names)
    carry_out(requests)
    assert set(CancelRequest.objects.values_list("status", flat=True)) == {"CONFIRMED"}
    assert sorted(str(call.exchange_id) for call in simulator.calls()) == sorted(names)
    assert all(status in FINAL for status in CancelRequest.objects.values_list("status", flat=True))


def test_a_list_read_before_the_last_post_does_not_count(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 5
    simulator.script(
        "KRAKEN",
        cancel=always("acknowledged_only"),
        list=["ok", *LIST_GONE],
        orders=5,
    )
    request = carry_out(press("KRAKEN"))
    assert request.attempt_count > 1
    assert (request.status, request.open_after) == ("UNVERIFIED", None)


def test_without_an_ems_client_the_request_ends_as_not_delivered(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.EMS_API_KEY = "a key\nof two lines"
    forget_client()
    request = carry_out(press("KRAKEN"))
    assert request.status == "NOT_DELIVERED"
    assert "no client" in request.attempts.order_by("number")[0].transport_error
