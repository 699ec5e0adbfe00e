"""Raises alarms, and records who acknowledged them."""

import hashlib
from datetime import UTC, datetime

from django.db import IntegrityError, transaction

from killswitch.alarms.channels import channels
from killswitch.alarms.models import Alarm, Delivery, Kind
from killswitch.audit import canonical_json
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.models import Kind as Event
from killswitch.audit.recorder import current_recording, recording
from killswitch.runtime.text import sanitize

MAX_SUBJECT_CHARS = 200
MAX_TITLE_CHARS = 300
MAX_DETAIL_CHARS = 10_000


class SelfAcknowledgement(Exception):
    """An alarm about a user's own account must be acknowledged by another person."""


def raise_alarm(  # noqa: PLR0913 - each is one column
    *,
    kind: Kind,
    subject: str,
    title: str,
    detail: str = "",
    request_id: str = "",
    exchange_id: str = "",
) -> None:
    """Raise an alarm, with its event, in the recording that the caller has opened.

    An alarm is raised once for its kind and subject; one that exists already, acknowledged or
    not, is left alone and records no event.
    """
    record = current_recording()
    same = Alarm.objects.filter(kind=kind, subject=_bounded_subject(subject))
    if same.exists():
        return
    alarm = Alarm(
        kind=kind,
        subject=_bounded_subject(subject),
        request_id=request_id,
        exchange_id=sanitize(exchange_id)[:200],
        title=sanitize(title)[:MAX_TITLE_CHARS],
        detail=sanitize(detail)[:MAX_DETAIL_CHARS],
        raised_at=datetime.now(UTC),
        revision=record.revision,
    )
    try:
        with transaction.atomic():
            alarm.save(force_insert=True)
    except IntegrityError:
        if not same.exists():
            raise
        return  # another process raised it while this one waited for the revision
    Delivery.objects.bulk_create(Delivery(alarm=alarm, channel=label) for label in channels())
    record.add(_raised(alarm))


def is_about(alarm: Alarm, user_pk: int | None) -> bool:
    """Return whether an alarm reports a change to this user's account.

    The subject of such an alarm begins with the account's row number.
    """
    return alarm.kind == Kind.PEOPLE and alarm.subject.partition(" ")[0] == str(user_pk)


def acknowledge(*, alarm_id: int, actor: Actor, user_pk: int | None = None) -> Alarm:
    """Record who acknowledged an alarm. Of two users, the first name stays.

    Raises `Alarm.DoesNotExist`, and `SelfAcknowledgement` for an alarm about this user.
    """
    at = datetime.now(UTC)
    with recording() as record:
        if is_about(Alarm.objects.get(pk=alarm_id), user_pk):
            raise SelfAcknowledgement
        is_first = Alarm.objects.filter(pk=alarm_id, acknowledged_at=None).update(
            acknowledged_at=at, acknowledged_by=sanitize(actor.name)[:200]
        )
        alarm = Alarm.objects.get(pk=alarm_id)
        if is_first:
            record.changed(alarm)
            record.event(
                Event.ALARM_ACKNOWLEDGED,
                actor=actor,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    "alarm": alarm.pk,
                    "alarm_kind": str(alarm.kind),
                    "subject": alarm.subject,
                    "acknowledged_at": canonical_json.utc_text(at),
                },
            )
    return alarm


def _bounded_subject(subject: str) -> str:
    """Return the subject, or if it is too long its beginning with the hash of all of it."""
    subject = sanitize(subject)
    if len(subject) <= MAX_SUBJECT_CHARS:
        return subject
    digest = hashlib.sha256(subject.encode()).hexdigest()
    return f"{subject[: MAX_SUBJECT_CHARS - len(digest) - 1]}…{digest}"


def _raised(alarm: Alarm) -> NewEvent:
    return NewEvent(
        kind=Event.ALARM_RAISED,
        exchange_id=alarm.exchange_id,
        request_id=alarm.request_id,
        data={
            "alarm": alarm.pk,
            "alarm_kind": str(alarm.kind),
            "subject": alarm.subject,
            "title": alarm.title,
            "detail": alarm.detail,
            "raised_at": canonical_json.utc_text(alarm.raised_at),
        },
    )
