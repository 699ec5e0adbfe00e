"""The outbox sends each alarm to every channel once, and again only when that failed."""

import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from killswitch.alarms import outbox, reconciliation
from killswitch.alarms.messages import Message
from killswitch.alarms.models import Alarm, Delivery, FailedDeliveries
from killswitch.alarms.outbox import (
    MAX_ATTEMPTS,
    MAX_GATHER_S,
    QUIET_S,
    STALE_AFTER_S,
    OutboxSender,
    pause_s,
    plain,
    send_message,
)
from killswitch.alarms.services import first_channels
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import no_progress
from killswitch.runtime.revisions import current
from tests.alarms.conftest import Sink, sending
from tests.clock import Clock
from tests.conftest import wait_for
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Raise = Callable[..., Alarm]


def send_now(sender: OutboxSender) -> None:
    sender.send_due()
    sender.wait(15)


def raise_batch(
    alarm: Raise, numbers: Iterable[int], *, size: int = 40, summary: str = "rejected, INVALID_TYPE"
) -> None:
    """Raise the alarms of these requests of one batch."""
    for number in numbers:
        alarm(
            f"r-{number}",
            request_id=f"r-{number}",
            exchange_id=f"VENUE{number:02}",
            title=f"VENUE{number:02}: {summary}.",
            detail="The EMS rejected the cancel.",
            batch_id="b-1",
            batch_size=size,
            summary=summary,
        )


def delivery_events() -> list[dict[str, Any]]:
    events = AuditEvent.objects.filter(kind=EventKind.ALARM_TOLD).order_by("seq")
    return [json.loads(event.data) for event in events]


def test_a_channel_is_sent_what_happened_and_this_is_recorded(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raised = alarm("r-1", exchange_id="KRAKEN", request_id="r-1", detail="3 <b>orders</b> left")
    send_now(OutboxSender())
    ((_, body),) = sink.received
    assert body["title"] == "[real] Kill alarm · r-1 is not confirmed"
    assert "3 \u2039b\u203aorders\u2039/b\u203a left" in body["message"]
    assert "Exchange: KRAKEN" in body["message"]
    row = Delivery.objects.get()
    assert (row.attempts, row.sending, row.error) == (1, False, "")
    assert row.delivered_at is not None
    (event,) = delivery_events()
    assert (event["place"], event["tries"], event["alarm"]) == ("1: json", 1, raised.pk)
    raised.refresh_from_db()
    assert raised.revision == current()


def test_an_alarm_raised_by_a_process_without_channels_is_sent_by_one_that_has_them(
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
        send_now(OutboxSender())
    assert sink.titles() == ["[real] Kill alarm · of-a-worker is not confirmed"]


def test_an_alarm_that_was_delivered_is_not_sent_again(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    for _ in range(3):
        send_now(OutboxSender())
    assert len(sink.received) == 1


def test_a_refused_alarm_is_sent_again_after_a_growing_pause(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    sink.status["/ok"] = 500
    alarm()
    clock = Clock()
    sender = OutboxSender(clock=clock)
    send_now(sender)
    row = Delivery.objects.get()
    assert (row.attempts, row.sending, row.delivered_at) == (1, False, None)
    assert row.error == "rejected or unreachable"
    send_now(sender)
    assert len(sink.received) == 1  # the pause has not passed
    clock.now += 1.1
    send_now(sender)
    assert len(sink.received) == 2
    sink.status["/ok"] = 200
    send_now(sender)
    clock.now += 2.1
    send_now(sender)
    assert [event["tries"] for event in delivery_events()] == [3]
    assert Delivery.objects.get().error == ""
    assert FailedDeliveries.objects.get().count == 2


def test_each_notification_of_a_message_that_fails_is_counted(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url("/refuses"), sink.url("/ok"))
    sink.status["/refuses"] = 500
    raise_batch(alarm, range(3), size=3)
    send_now(OutboxSender())
    assert FailedDeliveries.objects.get().count == 3
    assert Delivery.objects.filter(delivered_at=None).count() == 3


def test_attempts_go_on_for_more_than_an_hour_and_then_end() -> None:
    pauses = [pause_s(Delivery(attempts=number)) for number in range(MAX_ATTEMPTS)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert 3600 < sum(pauses) < 3 * 3600


def test_a_channel_that_never_works_is_given_up(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    Delivery.objects.update(attempts=MAX_ATTEMPTS)
    send_now(OutboxSender())
    assert sink.received == []


def test_a_channel_that_hangs_does_not_delay_the_others(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url("/hangs"), sink.url("/ok"))
    sink.delay["/hangs"] = 30
    for number in range(3):
        alarm(f"r-{number}")
    OutboxSender().send_due()
    wait_for(lambda: len(sink.titles("/ok")) == 3, seconds=5)
    working = Delivery.objects.filter(channel="2: json", delivered_at=None)
    wait_for(lambda: not working.exists(), seconds=5)
    assert len(sink.titles("/hangs")) < 3
    sink.stopped.set()
    wait_for(lambda: Delivery.objects.filter(delivered_at=None).count() == 0, seconds=10)


def test_a_call_is_bounded_in_time(alarm: Raise, sink: Sink) -> None:
    sink.delay["/ok"] = 30
    started_at = time.monotonic()
    error = send_message(url=sink.url(), message=Message.about(alarm()), timeout_s=0.3)
    assert error == "no response within 0.3 s"
    assert time.monotonic() - started_at < 10  # it would have answered after 30 s


def test_many_senders_at_once_send_each_alarm_once(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url("/a"), sink.url("/b"))
    sink.delay |= {"/a": 0.1, "/b": 0.1}
    for number in range(4):
        alarm(f"r-{number}")
    senders = [OutboxSender() for _ in range(4)]
    for sender in senders:
        sender.send_due()
    for sender in senders:
        sender.send_due()
        sender.wait(15)
    for path in ("/a", "/b"):
        assert sorted(sink.titles(path)) == [
            f"[real] Kill alarm · r-{n} is not confirmed" for n in range(4)
        ]
    assert Delivery.objects.filter(delivered_at=None).count() == 0
    assert len(delivery_events()) == 8


def test_what_a_dead_sender_left_is_sent_after_its_claim_is_stale(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    Delivery.objects.update(attempts=1, sending=True)
    clock = Clock()
    sender = OutboxSender(clock=clock)
    send_now(sender)
    clock.now += STALE_AFTER_S - 1
    send_now(sender)
    assert sink.received == []
    clock.now += 1.1
    send_now(sender)
    assert len(sink.received) == 1
    assert Delivery.objects.get().delivered_at is not None


def test_a_channel_that_was_removed_from_the_configuration_is_an_error(
    alarm: Raise, settings: Any
) -> None:
    settings.ALERT_URLS = ("json://127.0.0.1:9/x",)
    alarm()
    settings.ALERT_URLS = ()
    send_now(OutboxSender())
    assert Delivery.objects.get().error == "this channel is no longer configured"


@pytest.mark.parametrize("url", ["nonsense", "nosuchservice://x/y", "json://"])
def test_an_unsupported_url_is_an_error_without_its_secrets(alarm: Raise, url: str) -> None:
    error = send_message(url=url, message=Message.about(alarm()))
    assert error == "not a URL of a supported channel"


def test_a_closed_port_is_an_error(alarm: Raise) -> None:
    error = send_message(url="json://127.0.0.1:9/x", message=Message.about(alarm()))
    assert error == "rejected or unreachable"


def test_no_database_connection_is_kept_while_a_channel_is_called(
    alarm: Raise, sink: Sink, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    is_connected: list[bool] = []

    def spy(**call: Any) -> str:
        is_connected.append(connection.connection is not None)
        return send_message(**call)

    monkeypatch.setattr(outbox, "send_message", spy)
    send_now(OutboxSender())
    assert is_connected == [False]


def test_the_loop_sends_within_a_second_and_ends_at_once(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    with sending() as thread:
        alarm("r-1")
        wait_for(lambda: len(delivery_events()) == 1, seconds=5)
        stopped_at = time.monotonic()
    assert time.monotonic() - stopped_at < 5
    assert not thread.is_alive()


def test_the_alarms_of_one_batch_are_one_message_to_each_channel(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url("/a"), sink.url("/b"))
    raise_batch(alarm, range(40))
    send_now(OutboxSender())
    for path in ("/a", "/b"):
        (title,) = sink.titles(path)
        assert title.startswith(
            "[real] Kill alarm · 40 of 40 exchanges: rejected, INVALID_TYPE: VENUE00, "
        )
    assert not Delivery.objects.filter(delivered_at=None).exists()
    told = [(event["alarm"], event["place"], event["tries"]) for event in delivery_events()]
    pks = Alarm.objects.order_by("id").values_list("pk", flat=True)
    assert sorted(told) == [(pk, place, 1) for pk in pks for place in ("1: json", "2: json")]
    assert set(Alarm.objects.values_list("revision", flat=True)) == {current()}
    assert list(reconciliation.discrepancies(None, no_progress)) == []


def test_a_message_of_many_rows_takes_few_statements(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raise_batch(alarm, range(40))
    rows = list(Delivery.objects.order_by("id"))
    with CaptureQueriesContext(connection) as queries:
        claimed = outbox._claim(rows)
        outbox._record_deliveries(claimed, attempts=1)
    # An event is an INSERT of its own: the chain is written in order.
    others = [query for query in queries if "INSERT INTO" not in query["sql"]]
    assert len(others) < 15
    assert len(delivery_events()) == 40


def test_the_alarm_of_a_single_request_does_not_wait_for_others(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raise_batch(alarm, [7], size=1)
    alarm("of-no-batch")
    send_now(OutboxSender(clock=Clock()))
    assert sorted(sink.titles()) == [
        "[real] Kill alarm · VENUE07: rejected, INVALID_TYPE.",
        "[real] Kill alarm · of-no-batch is not confirmed",
    ]


def test_more_alarms_of_a_batch_are_waited_for_until_no_new_one_comes(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    clock = Clock()
    sender = OutboxSender(clock=clock)
    for number in range(3):
        raise_batch(alarm, [number])
        send_now(sender)
        clock.now += QUIET_S - 0.1
    send_now(sender)
    assert sink.received == []
    clock.now += 0.2
    send_now(sender)
    assert [title[:35] for title in sink.titles()] == ["[real] Kill alarm · 3 of 40 exchang"]


def test_alarms_that_trickle_in_are_few_messages(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    clock = Clock()
    sender = OutboxSender(clock=clock)
    seconds_without_message = 0
    for number in range(39):
        raise_batch(alarm, [number])
        send_now(sender)
        seconds_without_message += not sink.received
        clock.now += 1
    assert seconds_without_message == MAX_GATHER_S
    assert len(sink.received) <= 3
    clock.now += 4 * MAX_GATHER_S
    send_now(sender)
    assert len(sink.received) <= 4
    assert len(delivery_events()) == 39


def test_different_failures_of_one_batch_are_all_named_in_one_message(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raise_batch(alarm, range(30))
    raise_batch(alarm, range(30, 38), summary="orders still open")
    raise_batch(alarm, range(38, 40), summary="not delivered, connection refused")
    send_now(OutboxSender())
    ((_, body),) = sink.received
    assert body["title"] == (
        "[real] Kill alarm · 40 of 40 exchanges: 30x rejected, INVALID_TYPE; 8x orders still open;"
        " 2x not delivered, connection refused"
    )
    assert "8x orders still open: VENUE30, " in body["message"]
    assert "2x not delivered, connection refused: VENUE38, VENUE39\n" in body["message"]


def test_two_batches_are_two_messages(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raise_batch(alarm, range(2), size=2)
    Alarm.objects.update(batch_id="b-0")
    raise_batch(alarm, range(2, 4), size=2)
    send_now(OutboxSender())
    assert len(sink.received) == 2


def test_a_combined_message_that_fails_is_sent_again_with_all_its_alarms(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    sink.status["/ok"] = 500
    raise_batch(alarm, range(40))
    clock = Clock()
    sender = OutboxSender(clock=clock)
    send_now(sender)
    states = set(Delivery.objects.values_list("attempts", "sending", "error", "delivered_at"))
    assert states == {(1, False, "rejected or unreachable", None)}
    sink.status["/ok"] = 200
    send_now(sender)
    clock.now += 1.1
    send_now(sender)
    assert [title[:36] for title in sink.titles()] == ["[real] Kill alarm · 40 of 40 exchang"] * 2
    assert [event["tries"] for event in delivery_events()] == [2] * 40


def test_what_a_dead_sender_left_of_a_batch_is_one_message(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    raise_batch(alarm, range(40))
    Delivery.objects.update(attempts=1, sending=True)
    clock = Clock()
    sender = OutboxSender(clock=clock)
    send_now(sender)
    clock.now += STALE_AFTER_S + 0.1
    send_now(sender)
    assert len(sink.received) == 1
    assert len(delivery_events()) == 40


def test_many_senders_at_once_send_a_batch_once(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url("/a"), sink.url("/b"))
    sink.delay |= {"/a": 0.2, "/b": 0.2}
    raise_batch(alarm, range(40))
    senders = [OutboxSender() for _ in range(4)]
    run_at_once(*(partial(send_now, sender) for sender in senders))
    assert (len(sink.titles("/a")), len(sink.titles("/b"))) == (1, 1)
    assert not Delivery.objects.filter(delivered_at=None).exists()
    assert len(delivery_events()) == 80


def test_a_hostile_text_is_harmless_in_a_message(alarm: Raise, sink: Sink, settings: Any) -> None:
    settings.ALERT_URLS = (sink.url(),)
    hostile = "\x1b[2J\u202e<script>&amp;\r"
    alarm("r-1", title=f"{hostile}\nConfirmed", detail=f"{hostile}\nsecond line")
    send_now(OutboxSender())
    ((_, body),) = sink.received
    assert body["title"] == "[real] Kill alarm · ␛[2J\\u202e\u2039script\u203a&amp;␍␊Confirmed"
    assert body["message"].startswith("␛[2J\\u202e\u2039script\u203a&amp;␍\nsecond line\n")


def test_a_message_too_long_for_a_channel_is_cut_and_not_refused(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url().replace("json://", "mmost://") + "/" + "a" * 24,)
    alarm("r-1", detail="word " * 1900)
    send_now(OutboxSender())
    ((_, body),) = sink.received
    assert len(body["text"]) <= 4000
    assert "r-1 is not confirmed" in body["text"]


@pytest.mark.parametrize("failure", [OperationalError("gone"), ValueError("a bug")])
def test_the_loop_survives_every_failure(
    alarm: Raise,
    sink: Sink,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    failures = [failure, failure]

    def fail_twice() -> list[str]:
        if failures:
            raise failures.pop()
        return first_channels()

    alarm("r-1")
    monkeypatch.setattr(outbox, "first_channels", fail_twice)
    with sending():
        wait_for(lambda: len(delivery_events()) == 1, seconds=5)
    assert not failures


@pytest.mark.parametrize(
    ("foreign", "sent"),
    [
        ("[Open the console](https://evil.example/)", "[Open the console] (https://evil.example/)"),
        ("<https://evil.example/|Open>", "\u2039https://evil.example/|Open\u203a"),
        ("<!channel> <@U123>", "\u2039!channel\u203a \u2039@U123\u203a"),
        ("@everyone @Here @channel @all", "\uff20everyone \uff20Here \uff20channel \uff20all"),
        ("olga@desk.example, 3 @ 61250.5", "olga@desk.example, 3 @ 61250.5"),
    ],
)
def test_words_of_the_ems_are_no_markup_of_a_channel(foreign: str, sent: str) -> None:
    assert plain(foreign) == sent
