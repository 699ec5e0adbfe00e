"""The whole kill against the simulated EMS: what was scripted, and what is known in the end."""

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import DataError, connection

from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent
from killswitch.cancels import execution, leases, recording, thread_slots, watchdog
from killswitch.cancels.conclusion import Conclusion
from killswitch.cancels.leases import StaleLease
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import FINAL, Status
from killswitch.ems import shared
from killswitch.ems.client import EmsClient
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Ask
from tests.conftest import wait_for

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor"),
]

Fault = Mapping[str, Any]


@pytest.fixture(autouse=True)
def short_times(settings: Any) -> None:
    settings.EMS_TIMEOUT = 0.6
    settings.EMS_CONNECT_TIMEOUT = 0.3
    settings.CANCEL_DEADLINE = 2.5


@pytest.fixture
def time_for_many(short_times: None, settings: Any) -> None:
    """Many kills at once on a busy machine: an answer that comes late would count as none."""
    settings.EMS_TIMEOUT = 2.0
    settings.EMS_CONNECT_TIMEOUT = 1.0
    settings.CANCEL_DEADLINE = 5


def always(fault: str, **parameters: Any) -> list[Fault]:
    return [{"fault": fault, "repeat": True, **parameters}]


def reject(reason: str, *, status: int = 200, **parameters: Any) -> list[Fault]:
    return always("reject", reason=reason, status=status, **parameters)


def carry_out(requests: list[CancelRequest]) -> CancelRequest:
    """Run the requests in this process until they are final; the first of them."""
    ids = [request.pk for request in requests]
    execution.run(ids=ids)
    rows = CancelRequest.objects.filter(id__in=ids)
    wait_for(lambda: all(r.is_final for r in rows.all()), seconds=12)
    return rows.order_by("id")[0]


LIST_GONE = always("server_error", status=503)
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
    "502 proves nothing": ({"cancel": always("server_error", status=502)}, "RESIDUAL", ""),
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
    "acknowledged, nothing done": ({"cancel": always("acknowledged_only")}, "RESIDUAL", ""),
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


def test_every_fault_ends_in_the_status_it_has_earned(
    simulator: Simulator, ask: Ask, time_for_many: None
) -> None:
    for name, (script, _, _) in CASES.items():
        simulator.script(name, orders=5, **script)
    requests = ask(*CASES)
    carry_out(requests)
    ended = {each.exchange_id: each for each in CancelRequest.objects.all()}
    earned = {name: (request.status, request.reject_reason) for name, request in ended.items()}
    assert earned == {name: (status, reason) for name, (_, status, reason) in CASES.items()}
    for name, request in ended.items():
        assert request.conclusion, name
        calls = len(simulator.calls(name))
        assert request.attempts.count() == request.attempt_count == calls, name
        confirmed = request.status == "CONFIRMED"
        assert Alarm.objects.filter(request_id=str(request.uuid)).exists() != confirmed, name
        assert simulator.really_open(name) == 0 or not confirmed, name
        finished = AuditEvent.objects.get(kind="FINISHED", request_id=str(request.uuid))
        assert finished.status == request.status, name


def test_a_timeout_with_an_empty_list_is_confirmed_with_one_post(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.script("KRAKEN", cancel=always("silent", carried_out=True), orders=5)
    request = carry_out(ask("KRAKEN"))
    assert request.status == "CONFIRMED"
    assert len(simulator.calls("KRAKEN")) == 1
    assert [a.outcome for a in request.attempts.all()] == ["UNKNOWN"]


def test_the_orders_that_stay_are_listed(simulator: Simulator, ask: Ask) -> None:
    simulator.script("KRAKEN", cancel=always("partial", leaves=3), orders=8)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.open_after) == ("RESIDUAL", 3)
    ids = {order.client_order_id for order in request.residual_orders.all()}
    assert ids == set(simulator.open_ids("KRAKEN"))
    assert Alarm.objects.get().title == "KRAKEN: 3 orders are still open."


def test_the_figure_of_an_exchange_is_what_the_kill_has_read(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.place("KRAKEN", 2)
    requests = ask("KRAKEN")
    Exchange.objects.update(open_orders=17)
    request = carry_out(requests)
    kraken = Exchange.objects.get()
    assert (kraken.open_orders, kraken.revision) == (0, request.revision)
    assert kraken.seen_at is not None
    assert request.open_after_read_at is not None
    assert kraken.seen_at <= request.open_after_read_at


def test_orders_of_another_account_never_count(simulator: Simulator, ask: Ask) -> None:
    simulator.place("KRAKEN", 2)
    simulator.place("KRAKEN/JOHN", 4)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.open_after) == ("CONFIRMED", 0)
    assert simulator.really_open("KRAKEN/JOHN") == 4


def test_every_read_is_counted_the_one_that_confirms_too(simulator: Simulator, ask: Ask) -> None:
    simulator.script("KRAKEN", orders=0)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.reads) == ("CONFIRMED", 1)
    event = AuditEvent.objects.get(kind="FINISHED")
    said = json.loads(event.data)
    assert said["reads"] == 1
    assert said["list"] == {
        "http_status": 200,
        "error": "",
        "bytes": 2,
        "sha256": hashlib.sha256(b"[]").hexdigest(),
        "body": {"encoding": "utf-8", "text": "[]"},
        "body_cut": False,
    }


def test_a_closed_port_is_not_delivered(simulator: Simulator, ask: Ask, settings: Any) -> None:
    simulator.stop()
    request = carry_out(ask("KRAKEN"))
    assert request.status == "NOT_DELIVERED"
    assert {a.outcome for a in request.attempts.all()} == {"NOT_DELIVERED"}
    assert request.attempt_count > 1


def test_an_ems_that_comes_back_in_time_is_asked_again(simulator: Simulator, ask: Ask) -> None:
    simulator.script(
        "KRAKEN",
        cancel=[{"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490}, "ok"],
        orders=5,
    )
    request = carry_out(ask("KRAKEN"))
    assert request.status == "CONFIRMED"
    assert [a.outcome for a in request.attempts.all()] == ["REJECTED", "ACKNOWLEDGED"]


def test_what_is_refused_for_good_is_sent_once(simulator: Simulator, ask: Ask) -> None:
    simulator.script("KRAKEN", cancel=always("unauthorised"), orders=5)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.message) == ("REJECTED", "Invalid API key")
    assert len(simulator.calls("KRAKEN")) == 1
    assert request.open_after == 5


def test_orders_that_come_back_are_cancelled_again(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 8
    simulator.script("KRAKEN", cancel=["acknowledged_only", "ok"], orders=5)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.attempt_count) == ("CONFIRMED", 2)


def test_twenty_thousand_open_orders_are_counted_and_a_thousand_stored(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.EMS_TIMEOUT = 20  # never waited for: a busy machine takes seconds to read it
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), orders=20_000)
    request = carry_out(ask("KRAKEN"))
    assert (request.status, request.open_after) == ("RESIDUAL", 20_000)
    assert request.residual_orders.count() == 1000


# What each hostile body means, and how its hostile word is stored where it could be read.
HOSTILE: dict[str, tuple[str, str]] = {
    "nul": ("REJECTED", "before\\u0000after"),
    "surrogate": ("REJECTED", "before\\ud800after"),
    "utf8": ("RESIDUAL", ""),
    "huge": ("REJECTED", "x" * 3000),
    "html": ("REJECTED", "<"),
    "deep": ("RESIDUAL", ""),
}


def test_hostile_bodies_are_kept_and_mean_no_more_than_they_say(
    simulator: Simulator, ask: Ask, time_for_many: None
) -> None:
    for kind in HOSTILE:
        simulator.script(kind, cancel=always("hostile", kind=kind), orders=2)
    requests = ask(*HOSTILE)
    carry_out(requests)
    for request in CancelRequest.objects.all():
        kind = request.exchange_id
        status, word = HOSTILE[kind]
        first = request.attempts.order_by("number")[0]
        assert request.status == status, kind
        assert word in first.message + first.rejected_message, kind
        sent = shared.get_client().cancel_all(kind).body
        assert bytes(first.body) == sent[: recording.MAX_BODY_BYTES], kind
        assert first.body_cut == (len(sent) > recording.MAX_BODY_BYTES), kind
        events = AuditEvent.objects.filter(kind="ATTEMPT", request_id=str(request.uuid))
        assert events.count() == request.attempt_count, kind


def test_hostile_lists_are_kept_and_prove_no_emptiness(
    simulator: Simulator, ask: Ask, time_for_many: None
) -> None:
    for kind in HOSTILE:
        hostile = always("hostile", kind=kind)
        simulator.script(kind, cancel=always("acknowledged_only"), list=hostile, orders=1)
    requests = ask(*HOSTILE)
    carry_out(requests)
    for request in CancelRequest.objects.all():
        kind = request.exchange_id
        unreadable = kind in {"utf8", "deep"}
        assert request.status == ("UNVERIFIED" if unreadable else "RESIDUAL"), kind
        assert request.residual_orders.count() == (request.open_after or 0), kind


# What the first attempt keeps: HTTP status, outcome, reason, and whether it may have been done.
KEPT: dict[str, tuple[Fault, tuple[int | None, str, str, bool]]] = {
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


def test_every_answer_is_kept_as_what_it_was(simulator: Simulator, ask: Ask, settings: Any) -> None:
    # All at once on a busy machine: an answer that comes late would be kept as none.
    settings.EMS_TIMEOUT = 2.0
    settings.EMS_CONNECT_TIMEOUT = 1.0
    settings.CANCEL_DEADLINE = 5
    for name, (fault, _) in KEPT.items():
        simulator.script(name, cancel=[{**fault, "repeat": True}], orders=1)
    requests = ask(*KEPT)
    carry_out(requests)
    for request in requests:
        first = request.attempts.order_by("number")[0]
        kept = (first.http_status, first.outcome, first.reject_reason)
        assert (*kept, first.may_have_been_carried_out) == KEPT[request.exchange_id][1]
        assert first.started_at is not None
        assert first.finished_at >= first.started_at
        assert bool(first.transport_error) == (first.http_status is None or first.body_cut)


def test_disabling_an_exchange_does_not_stop_what_is_in_flight(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.place("KRAKEN", 2)
    requests = ask("KRAKEN")
    Exchange.objects.update(enabled=False)
    assert carry_out(requests).status == "CONFIRMED"


def test_nothing_is_claimed_that_no_thread_is_free_to_carry_out(
    simulator: Simulator, ask: Ask
) -> None:
    requests = ask("KRAKEN", "BINANCE")
    ids = [request.pk for request in requests]
    with thread_slots.ThreadSlots(thread_slots.MAX_THREADS):
        execution.run(ids=ids)
    assert {(r.status, r.lease_token) for r in CancelRequest.objects.all()} == {("REQUESTED", "")}
    with thread_slots.ThreadSlots(thread_slots.MAX_THREADS - 1):
        execution.run(ids=ids)
        assert CancelRequest.objects.filter(status="REQUESTED").count() == 1
    assert carry_out(requests).status == "CONFIRMED"


def test_a_kill_that_makes_no_progress_is_an_alarm_and_an_event_once(
    simulator: Simulator, ask: Ask, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "STALLED_AFTER_S", 0.2)
    simulator.script("KRAKEN", cancel=always("silent"), orders=1)
    (request,) = ask("KRAKEN")
    execution.run(ids=[request.pk])
    watch = watchdog.StallDetector()

    def look() -> bool:
        watchdog.check_once(watch)
        return Alarm.objects.filter(kind="STALLED").exists()

    wait_for(look, seconds=5)
    assert look()
    alarm = Alarm.objects.get(kind="STALLED")
    assert (alarm.request_id, alarm.exchange_id) == (str(request.uuid), "KRAKEN")
    assert AuditEvent.objects.filter(kind="ALARM_RAISED", request_id=alarm.request_id).count() == 1


def test_fifty_exchanges_are_asked_once_each_from_one_message(
    simulator: Simulator, ask: Ask
) -> None:
    names = [f"VENUE{number}" for number in range(50)]
    for name in names:
        simulator.place(name, 2)
    requests = ask(*names)
    carry_out(requests)
    assert set(CancelRequest.objects.values_list("status", flat=True)) == {"CONFIRMED"}
    assert sorted(str(call.exchange_id) for call in simulator.calls()) == sorted(names)
    assert all(status in FINAL for status in CancelRequest.objects.values_list("status", flat=True))


def test_a_stop_ends_a_long_pause_and_the_next_holder_keeps_to_what_is_left_of_it(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = ask("KRAKEN")
    execution.run(ids=[request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().attempt_count == 1, seconds=5)
    hand_over(request)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    assert not request.attempts.filter(by_dead_holder=True).exists()
    first, second = simulator.calls("KRAKEN")
    assert second.received_monotonic - first.received_monotonic > 2.9


def test_a_pause_asked_for_while_orders_remain_is_kept_to_by_the_next_holder(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[{"fault": "partial", "leaves": 3}, wait, "ok"], orders=5)
    (request,) = ask("KRAKEN")
    execution.run(ids=[request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().attempt_count == 2, seconds=8)
    reads = rows.get().reads
    wait_for(lambda: rows.get().reads > reads + 1, seconds=5)
    assert rows.get().next_attempt_at
    hand_over(request)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    _, second, third = simulator.calls("KRAKEN")
    assert third.received_monotonic - second.received_monotonic > 2.9


def test_who_takes_over_from_one_that_died_in_a_pause_reads_until_it_may_send(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = ask("KRAKEN")
    die_in_the_pause_that_the_ems_asked_for(request)
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().reads > 1, seconds=2)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("VERIFYING", 1)
    wait_for(lambda: rows.get().is_final, seconds=15)
    assert rows.get().status == "CONFIRMED"
    first, second = simulator.calls("KRAKEN")
    assert second.received_monotonic - first.received_monotonic > 2.9


def test_orders_gone_before_a_pause_of_the_dead_is_over_need_no_second_call(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 30
    simulator.script("KRAKEN", cancel=[{"fault": "too_many", "retry_after": "15"}], orders=0)
    (request,) = ask("KRAKEN")
    die_in_the_pause_that_the_ems_asked_for(request)
    rows = CancelRequest.objects.filter(id=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 1)


def die_in_the_pause_that_the_ems_asked_for(request: CancelRequest) -> None:
    """The holder is gone without letting go, and somebody takes the request over."""
    (held,) = leases.claim([request.pk])
    answer = shared.get_client().cancel_all(held.exchange_id)
    assert answer.retry_after
    planned = answer.finished_at + timedelta(seconds=answer.retry_after)
    with leases.short_transaction():
        recording.record_attempt(
            held.id, lease_token=held.token, answer=answer, next_attempt_at=planned
        )
    leases.stop_renewing(held)
    execution.take_over_stale([overdue(request)])


def overdue(request: CancelRequest) -> StaleLease:
    """The request as a watchdog finds it now."""
    row = CancelRequest.objects.get(pk=request.pk)
    return StaleLease(
        id=row.pk,
        status=Status(row.status),
        lease_token=row.lease_token,
        lease_beats=row.lease_beats,
        ended=row.attempt_count + row.reads,
    )


def test_who_has_written_something_meanwhile_is_alive(simulator: Simulator, ask: Ask) -> None:
    simulator.script("KRAKEN", orders=5)
    (request,) = ask("KRAKEN")
    (held,) = leases.claim([request.pk])
    seen = overdue(request)
    answer = shared.get_client().cancel_all("KRAKEN")
    with leases.short_transaction():
        recording.record_attempt(
            held.id, lease_token=held.token, answer=answer, next_attempt_at=None
        )
    leases.stop_renewing(held)
    assert leases.take_over(seen) is None
    rescuer = leases.take_over(overdue(request))
    assert rescuer is not None
    leases.stop_renewing(rescuer)


def test_what_was_acknowledged_is_not_sent_again_because_it_changed_hands(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], list=LIST_GONE, orders=5)
    (request,) = ask("KRAKEN")
    (held,) = leases.claim([request.pk])
    answer = shared.get_client().cancel_all("KRAKEN")
    assert answer.outcome == "ACKNOWLEDGED"
    with leases.short_transaction():
        recording.record_attempt(
            held.id, lease_token=held.token, answer=answer, next_attempt_at=None
        )
    leases.release(held)
    execution.take_over_stale([overdue(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("UNVERIFIED", 1)


def test_what_every_holder_dies_of_is_not_sent_for_ever(simulator: Simulator, ask: Ask) -> None:
    simulator.script("KRAKEN", orders=5)
    (request,) = ask("KRAKEN")
    CancelRequest.objects.filter(pk=request.pk).update(
        status="SENDING", lease_token="a", first_claimed_at=datetime.now(UTC) - timedelta(hours=1)
    )
    for _ in range(2):
        held = leases.take_over(overdue(request))
        assert held is not None
        leases.stop_renewing(held)  # it dies as well
    execution.take_over_stale([overdue(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, rows.get().open_after) == ("RESIDUAL", 5)
    assert simulator.calls("KRAKEN") == []


def test_the_last_call_is_not_missed_while_orders_are_read(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 4
    wait = {"fault": "too_many", "retry_after": "3600"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=5)
    (request,) = ask("KRAKEN")
    die_in_the_pause_that_the_ems_asked_for(request)
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    assert (rows.get().status, len(simulator.calls("KRAKEN"))) == ("CONFIRMED", 2)


def hand_over(request: CancelRequest) -> None:
    """The process that carries the request out is stopped, and a watchdog finds the request."""
    leases.STOP.set()
    wait_for(
        lambda: CancelRequest.objects.filter(id=request.pk, lease_token="").exists(), seconds=1
    )
    leases.STOP.clear()
    watchdog.check_once(watchdog.StallDetector())


def test_what_was_refused_for_good_is_not_sent_again_by_the_next_holder(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.script("KRAKEN", cancel=always("unauthorised"), orders=5)
    (request,) = ask("KRAKEN")
    (held,) = leases.claim([request.pk])
    answer = shared.get_client().cancel_all("KRAKEN")
    with leases.short_transaction():
        recording.record_attempt(
            held.id, lease_token=held.token, answer=answer, next_attempt_at=None
        )
    leases.release(held)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)
    assert (rows.get().status, rows.get().open_after) == ("REJECTED", 5)
    assert len(simulator.calls("KRAKEN")) == 1


def test_who_lost_the_claim_moves_no_status_and_still_records_the_attempt(
    simulator: Simulator, ask: Ask
) -> None:
    (request,) = ask("KRAKEN")
    (held,) = leases.claim([request.pk])
    rows = CancelRequest.objects.filter(id=request.pk)
    rows.update(lease_token="somebody:else")
    answer = shared.get_client().cancel_all("KRAKEN")
    verdict = Conclusion(status=Status.REJECTED, sentence="no")
    for move in (
        partial(recording.start_verifying, held.id, lease_token=held.token),
        partial(recording.record_read, held.id, lease_token=held.token),
        partial(
            recording.finish,
            held.id,
            lease_token=held.token,
            before=Status.SENDING,
            verdict=verdict,
            reading=None,
        ),
    ):
        with pytest.raises(recording.LeaseLost), leases.short_transaction():
            move()
    with leases.short_transaction():
        recording.record_attempt(
            held.id, lease_token=held.token, answer=answer, next_attempt_at=None
        )
    after = rows.get()
    assert (after.status, after.attempt_count, after.message) == ("SENDING", 1, "")
    assert AuditEvent.objects.filter(kind="ATTEMPT").count() == 1
    leases.stop_renewing(held)


def test_an_attempt_whose_first_try_is_still_committing_is_kept_once(
    simulator: Simulator, ask: Ask
) -> None:
    (request,) = ask("KRAKEN")
    (held,) = leases.claim([request.pk])
    leases.stop_renewing(held)
    answer = shared.get_client().cancel_all("KRAKEN")
    keep = partial(
        recording.record_attempt,
        held.id,
        lease_token=held.token,
        answer=answer,
        next_attempt_at=None,
    )
    written = threading.Event()

    def commit_slowly() -> None:
        with leases.short_transaction():
            keep()
            written.set()
            time.sleep(0.5)

    first = threading.Thread(target=commit_slowly)
    first.start()
    assert written.wait(5)
    with leases.short_transaction():
        keep()
    first.join()
    assert request.attempts.count() == 1
    assert AuditEvent.objects.filter(kind="ATTEMPT").count() == 1


def test_a_list_read_before_the_last_post_proves_nothing(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 5
    simulator.script(
        "KRAKEN",
        cancel=always("acknowledged_only"),
        list=[*["ok"] * 2, {"fault": "slow", "seconds": 0.2}, "ok", "ok", *LIST_GONE],
        orders=5,
    )
    request = carry_out(ask("KRAKEN"))
    assert request.attempt_count > 1
    assert (request.status, request.open_after) == ("UNVERIFIED", None)


def test_the_threads_of_a_first_press_share_one_client(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[EmsClient] = []

    def make_slowly() -> EmsClient:
        time.sleep(0.1)
        made.append(EmsClient(base_url="http://127.0.0.1:9"))
        return made[-1]

    monkeypatch.setattr(EmsClient, "from_settings", make_slowly)
    shared.forget_client()
    with ThreadPoolExecutor(20) as pool:
        got = list(pool.map(lambda _: shared.get_client(), range(20)))
    shared.forget_client()
    assert got == made * 20


def test_a_client_that_cannot_be_made_delivers_nothing_and_the_request_ends(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.EMS_API_KEY = "a key\nof two lines"
    shared.forget_client()
    request = carry_out(ask("KRAKEN"))
    assert request.status == "NOT_DELIVERED"
    assert "no client" in request.attempts.order_by("number")[0].transport_error


def test_a_takeover_that_fails_does_not_keep_the_others_waiting(
    simulator: Simulator, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ask("KRAKEN", "BINANCE")
    CancelRequest.objects.update(status="SENDING", first_claimed_at=datetime.now(UTC))
    take_over = leases.take_over

    def fail_for_the_first(overdue: leases.StaleLease) -> leases.Lease | None:
        if overdue.id == first.pk:
            raise DataError("a row that cannot be stored")
        return take_over(overdue)

    monkeypatch.setattr(leases, "take_over", fail_for_the_first)
    watchdog.check_once(watchdog.StallDetector())
    rows = CancelRequest.objects.filter(pk=second.pk)
    wait_for(lambda: rows.get().is_final, seconds=5)


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
def test_a_machine_without_threads_lets_others_take_over(
    error: Exception, simulator: Simulator, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(self: threading.Thread) -> None:
        raise error

    (request,) = ask("KRAKEN")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        execution.run(ids=[request.pk])
    assert CancelRequest.objects.get().status == "SENDING"
    assert thread_slots.idle()
    assert not leases._renewed_until


def test_a_row_that_somebody_is_writing_does_not_make_the_others_pass_for_dead(ask: Ask) -> None:
    requests = ask("KRAKEN", "BINANCE")
    held = leases.claim([request.pk for request in requests])
    counter = CancelRequest.objects.values_list("lease_beats", flat=True)
    before = [counter.get(pk=request.pk) for request in requests]
    written, done = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with leases.short_transaction():
            CancelRequest.objects.select_for_update().get(pk=requests[0].pk)
            written.set()
            done.wait(2.5)

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert written.wait(5)
    if connection.vendor == "sqlite":  # where one writes at a time, and waits for its turn
        done.set()
    leases._renew_leases()
    done.set()
    writer.join()
    leases._renew_leases()
    after = [counter.get(pk=request.pk) for request in requests]
    for each in held:
        leases.stop_renewing(each)
    assert after[0] > before[0]
    assert after[1] >= before[1] + 2


def test_a_clock_that_was_set_back_gives_no_second_time(
    simulator: Simulator, ask: Ask, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 60
    (request,) = ask("KRAKEN")
    CancelRequest.objects.update(
        status="SENDING", lease_beats=55, first_claimed_at=datetime.now(UTC) + timedelta(hours=1)
    )
    held = leases.take_over(overdue(request))
    assert held is not None
    assert held.ends_at - held.claimed_at < 6
    leases.stop_renewing(held)
