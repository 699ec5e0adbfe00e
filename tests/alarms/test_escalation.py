"""An alarm that is not acknowledged in time is recorded, and the next channel is notified, once."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from killswitch.alarms import reconciliation
from killswitch.alarms.escalation import Escalation
from killswitch.alarms.models import Alarm
from killswitch.alarms.outbox import OutboxSender
from killswitch.alarms.services import Acknowledgement, acknowledge_all, resolve
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.verification.findings import no_progress
from killswitch.runtime.revisions import current
from tests.accounts.people import events
from tests.alarms.conftest import Sink
from tests.clock import Clock
from tests.failures import full_log
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Raise = Callable[..., Alarm]


def overdue() -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in events(EventKind.ALARM_OVERDUE)]


def age(minutes: float) -> None:
    """Let the alarms have been raised so long ago, with the events that say so."""
    Alarm.objects.update(raised_at=datetime.now(UTC) - timedelta(minutes=minutes))


def places() -> list[str]:
    return list(Alarm.objects.get().deliveries.values_list("channel", flat=True))


def test_all_channels_are_notified_at_once_and_one_event_says_that_it_is_overdue(
    alarm: Raise, settings: Any
) -> None:
    settings.ALERT_URLS = ("json://one", "mailto://two")
    alarm(request_id="r-1", exchange_id="KRAKEN")
    assert places() == ["1: json", "2: mailto"]
    escalation = Escalation()
    age(9.9)
    escalation.step()
    assert overdue() == []
    before = current()
    for minutes in (10, 10, 60):
        age(minutes)
        escalation.step()
    assert Alarm.objects.get().revision == current() > before, "open pages show it"
    (recorded,) = events(EventKind.ALARM_OVERDUE)
    assert (recorded.request_id, recorded.exchange_id) == ("r-1", "KRAKEN")
    (event,) = overdue()
    assert (event["level"], event["first"], event["escalates"], event["place"]) == (
        1,
        True,
        False,
        "",
    )
    assert event["minutes"] == 10


def test_the_channels_are_notified_one_after_the_other_and_the_end_is_recorded(
    alarm: Raise, settings: Any
) -> None:
    settings.ALERT_URLS = ("json://one", "mailto://two", "slack://three")
    settings.ALERT_ESCALATE_AFTER_MIN = 5
    alarm()
    escalation = Escalation()
    escalation.step()
    assert places() == ["1: json"]
    for minutes, expected in (5, 2), (9.9, 2), (10, 3), (15, 3), (60, 3):
        age(minutes)
        escalation.step()
        assert len(places()) == expected
    assert [(event["level"], event["place"]) for event in overdue()] == [
        (1, "2: mailto"),
        (2, "3: slack"),
        (3, ""),
    ]
    assert Alarm.objects.get().overdue_level == 3


@pytest.mark.parametrize("escalate_min", [0, 5])
def test_without_channels_it_is_recorded_once(
    alarm: Raise, settings: Any, escalate_min: int
) -> None:
    settings.ALERT_URLS = ()
    settings.ALERT_ESCALATE_AFTER_MIN = escalate_min
    alarm()
    age(60)
    escalation = Escalation()
    for _ in range(3):
        escalation.step()
    assert [event["place"] for event in overdue()] == [""]


def test_a_process_that_knows_no_channel_leaves_it_to_the_others(
    alarm: Raise, settings: Any
) -> None:
    settings.ALERT_URLS = ("json://one", "mailto://two")
    settings.ALERT_ESCALATE_AFTER_MIN = 5
    alarm()
    age(60)
    settings.ALERT_URLS = ()
    Escalation().step()
    assert overdue() == []


def test_an_alarm_of_a_process_that_knew_no_channel_is_notified_on_each_of_them(
    alarm: Raise, settings: Any
) -> None:
    settings.ALERT_URLS = ()
    settings.ALERT_ESCALATE_AFTER_MIN = 5
    alarm()
    settings.ALERT_URLS = ("json://one", "mailto://two")
    age(60)
    escalation = Escalation()
    for _ in range(5):
        escalation.step()
    assert places() == ["1: json", "2: mailto"]
    assert [event["place"] for event in overdue()] == ["1: json", "2: mailto"]


def test_an_alarm_that_ended_or_is_young_is_not_overdue(alarm: Raise) -> None:
    first, second, old = alarm("one"), alarm("two"), alarm("three")
    acknowledge_all([first.pk], by=Acknowledgement(actor=Actor(name="Olga")))
    resolve([second.pk], resolution="Over.")
    age(60)
    alarm("young")
    Escalation().step()
    assert [event["alarm"] for event in overdue()] == [old.pk]


def test_a_clock_that_is_set_back_delays_nothing(alarm: Raise) -> None:
    alarm()
    age(-600)
    clock = Clock()
    escalation = Escalation(clock=clock)
    escalation.step()
    clock.now += 599
    escalation.step()
    assert overdue() == []
    clock.now += 2
    escalation.step()
    assert [event["minutes"] for event in overdue()] == [10], "as long as this process knows"


def test_many_processes_record_each_level_once(alarm: Raise, settings: Any) -> None:
    settings.ALERT_URLS = ("json://one", "mailto://two")
    settings.ALERT_ESCALATE_AFTER_MIN = 5
    for number in range(5):
        alarm(f"r-{number}")
    age(6)
    run_at_once(*(partial(Escalation().step) for _ in range(5)))
    assert sorted(event["alarm"] for event in overdue()) == sorted(
        Alarm.objects.values_list("pk", flat=True)
    )
    assert set(Alarm.objects.values_list("overdue_level", flat=True)) == {1}


def test_zero_minutes_turn_it_off(alarm: Raise, settings: Any) -> None:
    settings.ALARM_OVERDUE_MIN = 0
    alarm()
    age(600)
    Escalation().step()
    assert overdue() == []


def test_the_next_channel_is_told_for_how_long_and_the_log_agrees(
    alarm: Raise, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url("/duty"), sink.url("/head"))
    settings.ALERT_ESCALATE_AFTER_MIN = 0.001
    alarms = [
        alarm(f"r-{number}", batch_id="b", batch_size=2, request_id=f"r-{number}", summary="bad")
        for number in range(2)
    ]
    settings.ALERT_ESCALATE_AFTER_MIN = 5
    clock = Clock()
    sender = OutboxSender(clock=clock)
    sender.send_due()
    sender.wait(10)
    assert sink.titles("/head") == []
    clock.now += 301
    for _ in range(2):  # the escalation, then the sending
        sender.send_due()
        sender.wait(10)
    assert sink.titles("/duty") == ["[real] Kill alarm · 2 of 2 exchanges: bad: ,"]
    (title,) = sink.titles("/head")
    assert title.startswith("[real] Kill alarm, not acknowledged for 0 min · 2 of 2 exchanges")
    assert list(reconciliation.discrepancies(None, no_progress)) == []
    Alarm.objects.filter(pk=alarms[0].pk).update(overdue_level=3)
    (finding,) = reconciliation.discrepancies(None, no_progress)
    assert finding.reason.startswith(f"alarm {alarms[0].pk}: overdue_level is 3, but 1 events")


def test_a_log_that_takes_no_event_delays_no_notification(
    alarm: Raise, settings: Any, sink: Sink
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    alarm()
    age(60)
    sender = OutboxSender()
    with full_log(), suppress(OperationalError):
        sender.send_due()
    sender.wait(10)
    assert len(sink.titles()) == 1
