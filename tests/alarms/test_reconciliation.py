"""An alarm that was removed, added, changed or acknowledged by hand is found."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection

from killswitch.alarms import reconciliation
from killswitch.alarms.models import Alarm, AlarmKind, Delivery
from killswitch.alarms.outbox import OutboxSender
from killswitch.alarms.services import acknowledge, resolve
from killswitch.audit.actors import Actor
from killswitch.audit.chain import Head
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import recording
from killswitch.audit.verification.findings import Proof, no_progress
from killswitch.audit.verification.verify import verify, verify_newest
from tests.alarms.conftest import Sink
from tests.audit.assertions import assert_found, assert_good, only

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

OLGA = Actor(name="Olga Ray (olga)", role="RISK_OFFICER")
Raise = Callable[..., Alarm]


@pytest.fixture(autouse=True)
def alarms(alarm: Raise, sink: Sink, settings: Any, tmp_path: Any) -> list[Alarm]:
    """Three alarms: one acknowledged, one about an exchange; each reached one channel of two."""
    settings.KILLSWITCH_HOME = tmp_path
    sink.status["/broken"] = 500
    settings.ALERT_URLS = (sink.url(), sink.url("/broken"))
    alarms = [
        alarm("one"),
        alarm("two", kind=AlarmKind.STALLED, exchange_id="KRAKEN", detail="since 5 s"),
        alarm("three"),
    ]
    acknowledge(alarm_id=alarms[0].pk, actor=OLGA)
    sender = OutboxSender()
    sender.send_due()
    sender.wait(10)
    assert Delivery.objects.exclude(delivered_at=None).count() == 3
    assert_good(verify())
    return alarms


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", "PEOPLE"),
        ("subject", "another"),
        ("request_id", "r-1"),
        ("exchange_id", "LMAX"),
        ("title", "Another."),
        ("detail", ""),
        ("raised_at", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_column_changed_by_hand_is_found(alarms: list[Alarm], column: str, value: object) -> None:
    Alarm.objects.filter(pk=alarms[1].pk).update(**{column: value})
    verdict = verify()
    assert only(verdict) is Proof.TABLES
    assert f"alarm {alarms[1].pk}" in verdict.reason


@pytest.mark.parametrize(
    ("column", "value"),
    [("acknowledged_by", "Another"), ("acknowledged_at", datetime(2020, 1, 1, tzinfo=UTC))],
)
def test_who_acknowledged_and_when_is_compared(
    alarms: list[Alarm], column: str, value: object
) -> None:
    Alarm.objects.filter(pk=alarms[0].pk).update(**{column: value})
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[0].pk}: {column}")


@pytest.mark.parametrize(
    ("column", "value"),
    [("note", "Never said."), ("by_person_concerned", True)],
)
@pytest.mark.parametrize("is_of_an_older_version", [False, True])
def test_the_note_and_whose_account_it_was_are_compared(
    alarms: list[Alarm], column: str, value: object, is_of_an_older_version: bool
) -> None:
    row = alarms[0]
    if is_of_an_older_version:
        row = alarms[2]
        Alarm.objects.filter(pk=row.pk).update(
            acknowledged_at=datetime(2026, 1, 1, tzinfo=UTC), acknowledged_by="system"
        )
        with recording() as record:
            record.event(EventKind.ALARM_ACKNOWLEDGED, data={"alarm": row.pk})
        assert_good(verify())
    Alarm.objects.filter(pk=row.pk).update(**{column: value})
    assert_found(verify(), Proof.TABLES, f"alarm {row.pk}: {column}")


def test_a_resolution_is_compared(alarms: list[Alarm]) -> None:
    resolve([alarms[1].pk], resolution="The request has ended: rejected.")
    assert_good(verify())
    Alarm.objects.filter(pk=alarms[1].pk).update(resolution="All is well.")
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[1].pk}: resolution")
    Alarm.objects.filter(pk=alarms[1].pk).update(resolution="", resolved_at=None)
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[1].pk}: resolved_at")


def test_an_alarm_resolved_without_an_event_is_found(alarms: list[Alarm]) -> None:
    Alarm.objects.filter(pk=alarms[2].pk).update(resolved_at=datetime.now(UTC), resolution="x")
    assert_found(verify(), Proof.TABLES, "1 resolved alarms, but 0 events")


def test_an_alarm_deleted_or_put_there_by_hand_is_found(alarms: list[Alarm]) -> None:
    Alarm.objects.create(kind="OUTCOME", subject="x", title="x", raised_at=alarms[0].raised_at)
    assert_found(verify(), Proof.TABLES, "4 alarms in the table, but 3 events")
    Alarm.objects.filter(pk=alarms[2].pk).delete()
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[2].pk} was deleted")


def test_an_alarm_acknowledged_without_an_event_is_found(alarms: list[Alarm]) -> None:
    Alarm.objects.filter(pk=alarms[2].pk).update(
        acknowledged_at=datetime.now(UTC), acknowledged_by="Olga Ray (olga)"
    )
    assert_found(verify(), Proof.TABLES, "2 acknowledged alarms, but 1 events")


def test_an_acknowledgement_taken_back_is_found(alarms: list[Alarm]) -> None:
    Alarm.objects.filter(pk=alarms[0].pk).update(acknowledged_at=None, acknowledged_by="")
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[0].pk}: acknowledged_by is ''")


def test_deliveries_are_compared(alarms: list[Alarm]) -> None:
    delivered = alarms[1].deliveries.exclude(delivered_at=None)
    undelivered = alarms[1].deliveries.filter(delivered_at=None)
    delivered_at = delivered.get().delivered_at
    undelivered.update(delivered_at=datetime.now(UTC), sending=False)
    assert_found(verify(), Proof.TABLES, "4 deliveries, but 3 events")
    Delivery.objects.filter(pk=alarms[1].deliveries.latest("id").pk).update(delivered_at=None)
    assert_good(verify())
    delivered.update(delivered_at=datetime(2020, 1, 1, tzinfo=UTC))
    reason = f"alarm {alarms[1].pk}, delivered to 1: json: told_at is"
    assert_found(verify(), Proof.TABLES, reason)
    delivered.update(delivered_at=delivered_at)
    assert_good(verify())
    delivered.delete()
    assert_found(verify(), Proof.TABLES, "the row of this delivery was deleted")


def test_what_an_older_event_does_not_carry_is_not_compared() -> None:
    with recording() as record:
        old = Alarm.objects.create(
            kind="PEOPLE", subject="s", title="t", raised_at=datetime.now(UTC)
        )
        data = {"alarm": old.pk, "alarm_kind": "PEOPLE", "subject": "s"}
        record.event(EventKind.ALARM_RAISED, data=data)
    assert_good(verify())


def test_an_event_that_names_no_alarm_is_a_finding() -> None:
    with recording() as record:
        record.event(EventKind.ALARM_RAISED, data={"alarm": "1"})
    assert_found(verify(), Proof.TABLES, "alarm 0 was deleted")


def test_the_newest_verification_does_not_go_through_all_alarms(alarms: list[Alarm]) -> None:
    alarms[2].delete()
    assert_good(verify_newest(Head()))


@pytest.mark.usefixtures("small_batches")
def test_windows_of_any_size_say_the_same(alarms: list[Alarm]) -> None:
    assert_good(verify())
    Alarm.objects.filter(pk=alarms[2].pk).delete()
    assert_found(verify(), Proof.TABLES, f"alarm {alarms[2].pk} was deleted")


def test_an_alarm_raised_between_the_two_counts_is_not_called_wrong(
    alarm: Raise, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = reconciliation._miscounted
    calls: list[int] = []

    def count_late() -> Any:
        calls.append(1)
        if len(calls) == 1:
            yield from list(count())
            alarm("four")
            yield "an alarm was raised between the two counts"
        else:
            yield from count()

    monkeypatch.setattr(reconciliation, "_miscounted", count_late)
    assert list(reconciliation.discrepancies(None, no_progress)) == []
    assert len(calls) == 2
    assert AuditEvent.objects.filter(kind=EventKind.ALARM_RAISED).count() == 4
    assert not connection.in_atomic_block
