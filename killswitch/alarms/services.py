"""Raises alarms, and lets a person acknowledge them by name."""

import hashlib
from datetime import UTC, datetime

from django.db import connection, transaction

from killswitch.alarms.channels import places
from killswitch.alarms.models import Alarm, Kind, Telling
from killswitch.audit import canonical_json, chain
from killswitch.audit.chain import Actor, Fact
from killswitch.audit.models import Kind as Event
from killswitch.ems.answers import storable
from killswitch.runtime.models import next_revision

LONGEST_SUBJECT = 200
LONGEST_TITLE = 300
LONGEST_DETAIL = 10_000


class AboutThemselves(Exception):
    """Whoever was given something must not be the one who has seen to it."""


def raise_alarm(  # noqa: PLR0913 - each is one column
    *,
    kind: Kind,
    subject: str,
    title: str,
    revision: int,
    detail: str = "",
    request_id: str = "",
    exchange_id: str = "",
) -> list[Fact]:
    """Raise an alarm in the caller's transaction, and return the facts for `chain.append`.

    An alarm is raised once for its kind and subject; one that is there already, acknowledged or
    not, is left alone and gives no facts. `revision` is the caller's `next_revision()`.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("an alarm belongs into the transaction of what it is about")
    alarm, created = Alarm.objects.get_or_create(
        kind=kind,
        subject=_bounded_subject(subject),
        defaults={
            "request_id": request_id,
            "exchange_id": storable(exchange_id)[:200],
            "title": storable(title)[:LONGEST_TITLE],
            "detail": storable(detail)[:LONGEST_DETAIL],
            "raised_at": datetime.now(UTC),
            "revision": revision,
        },
    )
    if not created:
        return []
    Telling.objects.bulk_create(Telling(alarm=alarm, place=place) for place in places())
    return [_raised(alarm)]


def is_about(alarm: Alarm, person: int | None) -> bool:
    """Whether an alarm tells of a change of this very person; its subject begins with the row."""
    return alarm.kind == Kind.PEOPLE and alarm.subject.partition(" ")[0] == str(person)


def acknowledge(*, alarm_id: int, actor: Actor, person: int | None = None) -> Alarm:
    """Note who has seen to an alarm. Twice is no error: the first name stays.

    Raises `Alarm.DoesNotExist`, and `AboutThemselves` for the person's own row.
    """
    at = datetime.now(UTC)
    with transaction.atomic():
        if is_about(Alarm.objects.get(pk=alarm_id), person):
            raise AboutThemselves
        first = Alarm.objects.filter(pk=alarm_id, acknowledged_at=None).update(
            acknowledged_at=at, acknowledged_by=storable(actor.name)[:200]
        )
        alarm = Alarm.objects.get(pk=alarm_id)
        if first:
            alarm.revision = next_revision()
            alarm.save(update_fields=["revision"])
            chain.append(_acknowledged(alarm, actor=actor, at=at))
    return alarm


def _bounded_subject(subject: str) -> str:
    """A subject as it is, or one of allowed length that differs whenever it does."""
    safe = storable(subject)
    if len(safe) <= LONGEST_SUBJECT:
        return safe
    digest = hashlib.sha256(safe.encode()).hexdigest()
    return f"{safe[: LONGEST_SUBJECT - len(digest) - 1]}…{digest}"


def _raised(alarm: Alarm) -> Fact:
    return Fact(
        kind=Event.ALARM_RAISED,
        exchange_id=alarm.exchange_id,
        request_id=alarm.request_id,
        data={
            "alarm": alarm.pk,
            "alarm_kind": str(alarm.kind),
            "subject": alarm.subject,
            "title": alarm.title,
            "detail": alarm.detail,
            "raised_at": canonical_json.instant(alarm.raised_at),
        },
    )


def _acknowledged(alarm: Alarm, *, actor: Actor, at: datetime) -> Fact:
    return Fact(
        kind=Event.ALARM_ACKNOWLEDGED,
        actor=actor,
        exchange_id=alarm.exchange_id,
        request_id=alarm.request_id,
        data={
            "alarm": alarm.pk,
            "alarm_kind": str(alarm.kind),
            "subject": alarm.subject,
            "acknowledged_at": canonical_json.instant(at),
        },
    )
