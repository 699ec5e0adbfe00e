"""An alarm is raised once, recorded, and stays until a person acknowledges it by name."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killswitch.alarms.models import SEVERITIES, Alarm, AlarmKind, Delivery
from killswitch.alarms.services import (
    Acknowledgement,
    SelfAcknowledgement,
    acknowledge,
    acknowledge_all,
    raise_alarm,
    resolve,
)
from killswitch.audit import canonical_json
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import current
from tests.accounts.people import events
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

OLGA = Actor(name="Olga Ray (olga)", role="Risk officer")
IVAN = Actor(name="Ivan Poe (ivan)", role="Risk officer")
Raise = Callable[..., Alarm]


def test_an_alarm_and_its_event_are_one_change(alarm: Raise) -> None:
    raised = alarm("r-1", request_id="r-1", exchange_id="KRAKEN/JOHN", detail="3 are left")
    assert raised.revision == current()
    (event,) = events(EventKind.ALARM_RAISED)
    assert (event.request_id, event.exchange_id) == ("r-1", "KRAKEN/JOHN")
    assert json.loads(event.data) == {
        "alarm": raised.pk,
        "alarm_kind": "OUTCOME",
        "subject": "r-1",
        "title": "r-1 is not confirmed",
        "detail": "3 are left",
        "raised_at": canonical_json.utc_text(raised.raised_at),
    }


def test_the_same_alarm_is_not_raised_again_even_when_it_was_acknowledged(alarm: Raise) -> None:
    first = alarm("r-1")
    acknowledge(alarm_id=first.pk, actor=OLGA)
    alarm("r-1", title="once more")
    assert Alarm.objects.get().title == first.title
    assert len(events(EventKind.ALARM_RAISED)) == 1


def test_another_kind_of_alarm_for_the_same_request_is_its_own(alarm: Raise) -> None:
    alarm("r-1")
    alarm("r-1", kind=AlarmKind.STALLED)
    assert Alarm.objects.unacknowledged().count() == 2


def test_every_channel_has_a_delivery_and_no_secret_is_stored(alarm: Raise, settings: Any) -> None:
    settings.ALERT_URLS = ("mailto://me:hunter2@example.org", "slack://T0ken/x/y", "T0kenWithout")
    raised = alarm()
    labels = list(raised.deliveries.values_list("channel", flat=True))
    assert labels == ["1: mailto", "2: slack", "3: not a URL"]


def test_the_transaction_goes_on_after_an_alarm_that_exists_already(alarm: Raise) -> None:
    alarm("r-1")
    with recording():
        raise_alarm(kind=AlarmKind.OUTCOME, subject="r-1", title="x")
        Exchange.objects.create(exchange_id="AFTER")
    assert Exchange.objects.filter(exchange_id="AFTER").exists()


def test_many_that_raise_the_same_alarm_at_once_raise_it_once(settings: Any) -> None:
    settings.ALERT_URLS = ("json://one", "json://two")

    def act(number: int) -> int:
        with recording() as record:
            Exchange.objects.create(exchange_id=f"X{number}")
            raise_alarm(kind=AlarmKind.STALLED, subject="s", title="t")
        return len(record.events)

    event_counts = run_at_once(*(partial(act, number) for number in range(6)))
    assert sorted(event_counts) == [0, 0, 0, 0, 0, 1]
    assert (Alarm.objects.count(), Delivery.objects.count()) == (1, 2)
    assert len(events(EventKind.ALARM_RAISED)) == 1
    assert Exchange.objects.count() == 6


def test_an_alarm_outside_a_recording_is_a_mistake() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        raise_alarm(kind=AlarmKind.OUTCOME, subject="s", title="t")


def test_an_alarm_is_rolled_back_with_the_change_that_caused_it() -> None:
    with transaction.atomic():
        with recording():
            raise_alarm(kind=AlarmKind.PEOPLE, subject="s", title="t")
        transaction.set_rollback(True)
    assert not Alarm.objects.exists()


def test_acknowledging_keeps_the_first_name_and_is_recorded_once(alarm: Raise) -> None:
    raised = alarm("r-1", request_id="r-1", exchange_id="KRAKEN")
    first = acknowledge(alarm_id=raised.pk, actor=OLGA)
    again = acknowledge(alarm_id=raised.pk, actor=IVAN)
    assert again.acknowledged_by == first.acknowledged_by == OLGA.name
    assert again.acknowledged_at == first.acknowledged_at is not None
    assert again.revision == current() > raised.revision
    (event,) = events(EventKind.ALARM_ACKNOWLEDGED)
    assert (event.actor, event.role) == (OLGA.name, OLGA.role)
    assert (event.request_id, event.exchange_id) == ("r-1", "KRAKEN")
    assert not Alarm.objects.unacknowledged().exists()


def test_acknowledgements_at_the_same_time_leave_one_name_and_one_event(alarm: Raise) -> None:
    act = partial(acknowledge, alarm_id=alarm().pk)
    alarms = run_at_once(*(partial(act, actor=Actor(name=f"p{number}")) for number in range(4)))
    names = [row.acknowledged_by for row in alarms]
    assert len(set(names)) == 1
    assert len(names) == 4
    assert len(events(EventKind.ALARM_ACKNOWLEDGED)) == 1


def test_an_alarm_that_does_not_exist_cannot_be_acknowledged() -> None:
    for alarm_id in (1, 10**30):
        with pytest.raises(Alarm.DoesNotExist):
            acknowledge(alarm_id=alarm_id, actor=OLGA)


def test_many_are_acknowledged_at_once_with_an_event_and_the_note_each(alarm: Raise) -> None:
    raised = [alarm(f"r-{number}") for number in range(20)]
    acknowledge(alarm_id=raised[3].pk, actor=IVAN)
    ids = [row.pk for row in raised]
    new = acknowledge_all(ids, by=Acknowledgement(actor=OLGA, note="Desk called.\0"))
    assert [row.pk for row in new] == [pk for pk in ids if pk != raised[3].pk]
    assert not Alarm.objects.unacknowledged().exists()
    recorded = [json.loads(event.data) for event in events(EventKind.ALARM_ACKNOWLEDGED)]
    assert [data["note"] for data in recorded] == ["", *["Desk called.\\u0000"] * 19]
    raised[3].refresh_from_db()
    assert (raised[3].acknowledged_by, raised[3].note) == (IVAN.name, "")
    assert acknowledge_all(ids, by=Acknowledgement(actor=IVAN)) == []


def test_one_that_is_missing_or_about_the_user_leaves_all_as_they_are(alarm: Raise) -> None:
    first, own = alarm("r-1"), alarm("7 1", kind=AlarmKind.PEOPLE)
    for ids, error in (
        ([first.pk, 10**30], Alarm.DoesNotExist),
        (
            [first.pk, own.pk],
            SelfAcknowledgement,
        ),
    ):
        with pytest.raises(error):
            acknowledge_all(ids, by=Acknowledgement(actor=OLGA, user_pk=7))
    assert Alarm.objects.unacknowledged().count() == 2
    by = Acknowledgement(actor=OLGA, user_pk=7, is_only_officer=True)
    acknowledge_all([first.pk, own.pk], by=by)
    recorded = [json.loads(event.data) for event in events(EventKind.ALARM_ACKNOWLEDGED)]
    assert [data["by_person_concerned"] for data in recorded] == [False, True]


def test_two_that_acknowledge_overlapping_alarms_at_once_leave_one_name_each(alarm: Raise) -> None:
    ids = [alarm(f"r-{number}").pk for number in range(6)]
    results = run_at_once(
        partial(acknowledge_all, ids[:4], by=Acknowledgement(actor=OLGA)),
        partial(acknowledge_all, reversed(ids[2:]), by=Acknowledgement(actor=IVAN)),
    )
    assert sorted(row.pk for rows in results for row in rows) == ids
    assert len(events(EventKind.ALARM_ACKNOWLEDGED)) == 6


def test_a_resolved_alarm_needs_no_person_and_is_recorded_once(alarm: Raise) -> None:
    raised, other = alarm("r-1", request_id="r-1", exchange_id="KRAKEN"), alarm("r-2")
    acknowledge(alarm_id=other.pk, actor=OLGA)
    for _ in range(2):
        resolve([raised.pk, other.pk], resolution="The request has ended: rejected.")
    acknowledge(alarm_id=raised.pk, actor=OLGA)
    raised.refresh_from_db()
    assert (raised.acknowledged_at, raised.resolution) == (None, "The request has ended: rejected.")
    assert raised.revision == current()
    assert not Alarm.objects.unacknowledged().exists()
    assert Alarm.objects.closed().count() == 2
    (event,) = events(EventKind.ALARM_RESOLVED)
    assert (event.request_id, event.exchange_id) == ("r-1", "KRAKEN")
    assert json.loads(event.data)["resolution"] == raised.resolution


@pytest.mark.parametrize("kind", AlarmKind)
def test_kill_outcomes_come_first_whatever_is_newer(alarm: Raise, kind: AlarmKind) -> None:
    rank = [severity.value for severity in SEVERITIES.values()]
    assert SEVERITIES.keys() == set(AlarmKind)
    for other in AlarmKind:
        alarm(f"old {other}", kind=other)
    newest = alarm("new", kind=kind)
    listed = list(Alarm.objects.worst_first())
    assert [row.severity for row in listed] == sorted([*rank, newest.severity])
    assert next(row for row in listed if row.severity == newest.severity) == newest


def test_long_subjects_that_differ_at_their_end_are_different_alarms() -> None:
    for end in "ab":
        with recording() as record:
            raise_alarm(kind=AlarmKind.PEOPLE, subject="s" * 400 + end, title="t")
        assert len(record.events) == 1
    assert [len(subject) for subject in Alarm.objects.values_list("subject", flat=True)] == [
        200
    ] * 2


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(), max_size=400), st.text(st.characters(), max_size=400))
def test_an_alarm_is_raised_with_any_text(subject: str, text: str) -> None:
    with transaction.atomic():
        with recording() as record:
            raise_alarm(
                kind=AlarmKind.OUTCOME, subject=subject, title=text, detail=text, exchange_id=text
            )
        assert len(record.events) == 1
        transaction.set_rollback(True)
