"""Places are told from the outbox: all of them, once, and again only when it did not work."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from killswitch.alarms import outbox
from killswitch.alarms.models import Alarm, Delivery
from killswitch.alarms.outbox import (
    MAX_ATTEMPTS,
    STALE_AFTER_S,
    OutboxSender,
    PendingDelivery,
    pause,
    send,
)
from killswitch.audit.models import AuditEvent, Kind
from killswitch.runtime.revisions import current
from tests.alarms.conftest import Sink
from tests.alarms.conftest import telling as telling_loop
from tests.clock import Clock
from tests.conftest import wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Raise = Callable[..., Alarm]


def tell_now(teller: OutboxSender) -> None:
    teller.look()
    teller.wait(15)


def told_events() -> list[dict[str, Any]]:
    events = AuditEvent.objects.filter(kind=Kind.ALARM_TOLD).order_by("seq")
    return [json.loads(event.data) for event in events]


def test_a_place_is_told_what_happened_and_this_is_recorded(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raised = alarm("r-1", exchange_id="KRAKEN", request_id="r-1", detail="3 <b>orders</b> left")
    tell_now(OutboxSender())
    ((_, body),) = sink.taken
    assert body["title"] == "[real] r-1 is not confirmed"
    assert "3 <b>orders</b> left" in body["message"]
    assert "Exchange: KRAKEN" in body["message"]
    row = Delivery.objects.get()
    assert (row.tries, row.sending, row.error) == (1, False, "")
    assert row.told_at is not None
    (event,) = told_events()
    assert (event["place"], event["tries"], event["alarm"]) == ("1: json", 1, raised.pk)
    raised.refresh_from_db()
    assert raised.revision == current()


def test_an_alarm_of_a_process_that_has_no_places_is_told_by_one_that_has(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = ()
    alarm("of-a-worker")
    alarm("seen-to")
    Alarm.objects.filter(subject="seen-to").update(
        acknowledged_at=datetime.now(UTC), acknowledged_by="Olga"
    )
    settings.ALERT_URLS = (sink.url(),)
    for _ in range(2):
        tell_now(OutboxSender())
    assert sink.titles() == ["[real] of-a-worker is not confirmed"]


def test_what_was_told_is_not_told_again(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    for _ in range(3):
        tell_now(OutboxSender())
    assert len(sink.taken) == 1


def test_a_refusal_is_tried_again_after_a_growing_pause(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    sink.status["/ok"] = 500
    alarm()
    clock = Clock()
    teller = OutboxSender(clock=clock)
    tell_now(teller)
    row = Delivery.objects.get()
    assert (row.tries, row.sending, row.told_at) == (1, False, None)
    assert row.error == "refused, or not reachable"
    tell_now(teller)
    assert len(sink.taken) == 1  # the pause has not passed
    clock.now += 1.1
    tell_now(teller)
    assert len(sink.taken) == 2
    sink.status["/ok"] = 200
    tell_now(teller)
    clock.now += 2.1
    tell_now(teller)
    assert [event["tries"] for event in told_events()] == [3]
    assert Delivery.objects.get().error == ""


def test_the_tries_last_for_more_than_an_hour_and_then_end() -> None:
    pauses = [pause(tries=tries, sending=False) for tries in range(MAX_ATTEMPTS)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert 3600 < sum(pauses) < 3 * 3600


def test_a_place_that_never_works_is_given_up(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    Delivery.objects.update(tries=MAX_ATTEMPTS)
    tell_now(OutboxSender())
    assert sink.taken == []


def test_a_place_that_hangs_delays_no_other(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url("/hangs"), sink.url("/ok"))
    sink.delay["/hangs"] = 30
    for number in range(3):
        alarm(f"r-{number}")
    OutboxSender().look()
    wait_for(lambda: len(sink.titles("/ok")) == 3, seconds=5)
    wait_for(lambda: Delivery.objects.filter(place="2: json", told_at=None).count() == 0, seconds=5)
    assert len(sink.titles("/hangs")) == 1
    sink.over.set()
    wait_for(lambda: Delivery.objects.filter(told_at=None).count() == 0, seconds=10)


def test_a_call_is_bounded_in_time(alarm: Raise, sink: Sink) -> None:
    sink.delay["/ok"] = 30
    began = time.monotonic()
    error = send(url=sink.url(), alarm=alarm(), timeout=0.3)
    assert error == "no answer within 0.3 s"
    assert time.monotonic() - began < 10  # it would have answered after 30 s


def test_many_senders_side_by_side_tell_once(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url("/a"), sink.url("/b"))
    sink.delay |= {"/a": 0.1, "/b": 0.1}
    for number in range(4):
        alarm(f"r-{number}")
    tellers = [OutboxSender() for _ in range(4)]
    for teller in tellers:
        teller.look()
    for teller in tellers:
        teller.look()
        teller.wait(15)
    for path in ("/a", "/b"):
        assert sorted(sink.titles(path)) == [f"[real] r-{n} is not confirmed" for n in range(4)]
    assert Delivery.objects.filter(told_at=None).count() == 0
    assert len(told_events()) == 8


def test_what_a_dead_sender_left_is_told_after_the_lease(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    Delivery.objects.update(tries=1, sending=True)
    clock = Clock()
    teller = OutboxSender(clock=clock)
    tell_now(teller)
    clock.now += STALE_AFTER_S - 1
    tell_now(teller)
    assert sink.taken == []
    clock.now += 1.1
    tell_now(teller)
    assert len(sink.taken) == 1
    assert Delivery.objects.get().told_at is not None


def test_a_place_that_was_taken_from_the_configuration_says_so(alarm: Raise, settings: Any) -> None:
    settings.ALERT_URLS = ("json://127.0.0.1:9/x",)
    alarm()
    settings.ALERT_URLS = ()
    tell_now(OutboxSender())
    assert Delivery.objects.get().error == "this place is no longer configured"


@pytest.mark.parametrize("url", ["nonsense", "nosuchservice://x/y", "json://"])
def test_a_url_that_cannot_be_told_is_an_error_in_words(alarm: Raise, url: str) -> None:
    assert send(url=url, alarm=alarm()) == "the URL is not one that can be told"


def test_a_closed_port_is_not_told(alarm: Raise) -> None:
    assert send(url="json://127.0.0.1:9/x", alarm=alarm()) == "refused, or not reachable"


def test_no_connection_is_kept_while_a_place_is_told(
    alarm: Raise, sink: Sink, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    kept: list[bool] = []
    really = outbox.send

    def spy(**given: Any) -> str:
        kept.append(connection.connection is not None)
        return really(**given)

    monkeypatch.setattr(outbox, "send", spy)
    tell_now(OutboxSender())
    assert kept == [False]


def test_the_loop_tells_within_a_second_and_ends_at_once(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    with telling_loop() as thread:
        alarm("r-1")
        wait_for(lambda: len(told_events()) == 1, seconds=5)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not thread.is_alive()


def test_the_loop_survives_a_database_that_is_gone_for_a_while(
    alarm: Raise, sink: Sink, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    settings.ALERT_URLS = (sink.url(),)
    failures = iter([OperationalError("gone"), OperationalError("gone")])
    really = outbox._outbox

    def flaky() -> list[PendingDelivery]:
        for failure in failures:
            raise failure
        return really()

    monkeypatch.setattr(outbox, "_outbox", flaky)
    monkeypatch.setattr(outbox, "POLL_INTERVAL_S", 0.05)
    alarm("r-1")
    with telling_loop():
        wait_for(lambda: len(told_events()) == 1, seconds=5)
