"""Raises alarms for the configured channels, and records who acknowledged them."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from killswitch.alarms.models import Alarm, AlarmKind, Delivery
from killswitch.audit import canonical_json
from killswitch.audit.chain import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import current_recording, recording
from killswitch.runtime.text import sanitize

MAX_SUBJECT_CHARS = 200
MAX_TITLE_CHARS = 300
MAX_DETAIL_CHARS = 10_000

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40})://")


class SelfAcknowledgement(Exception):
    """An alarm about a user's own account must be acknowledged by another person."""


def channels() -> dict[str, str]:
    """Return the configured URLs by label, e.g. `1: mailto`: the URLs themselves hold secrets."""
    urls_by_label = {}
    for number, url in enumerate(settings.ALERT_URLS, 1):
        scheme = _SCHEME.match(url)
        urls_by_label[f"{number}: {scheme[1].lower() if scheme else 'not a URL'}"] = url
    return urls_by_label


def raise_alarm(  # noqa: PLR0913 - each is one column
    *,
    kind: AlarmKind,
    subject: str,
    title: str,
    detail: str = "",
    request_id: str = "",
    exchange_id: str = "",
    batch_id: str = "",
    batch_size: int = 0,
    summary: str = "",
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Raise an alarm, with its event, in the recording that the caller has opened.

    Alarms of one batch are notified together; those with the same summary are listed as alike.
    `facts` are further data of the event, with which other tables are compared. An alarm is raised
    once for its kind and subject; one that exists already, acknowledged or not, is left alone and
    records no event.
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
        batch_id=batch_id,
        batch_size=batch_size,
        summary=sanitize(summary)[:MAX_TITLE_CHARS],
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
    record.event(
        EventKind.ALARM_RAISED,
        exchange_id=alarm.exchange_id,
        request_id=alarm.request_id,
        data={
            "alarm": alarm.pk,
            "alarm_kind": str(alarm.kind),
            "subject": alarm.subject,
            "title": alarm.title,
            "detail": alarm.detail,
            "raised_at": canonical_json.utc_text(alarm.raised_at),
            **(facts or {}),
        },
    )


def is_about(alarm: Alarm, user_pk: int | None) -> bool:
    """Return whether an alarm reports a change to this user's account.

    The subject of such an alarm begins with the account's row number.
    """
    return alarm.kind == AlarmKind.PEOPLE and alarm.subject.partition(" ")[0] == str(user_pk)


def acknowledge(*, alarm_id: int, actor: Actor, user_pk: int | None = None) -> Alarm:
    """Record who acknowledged an alarm. Of two users, the first name stays.

    Raises `Alarm.DoesNotExist`, and `SelfAcknowledgement` for an alarm about this user.
    """
    with recording() as record:
        alarm = Alarm.objects.select_for_update(no_key=True).get(pk=alarm_id)
        if is_about(alarm, user_pk):
            raise SelfAcknowledgement
        if alarm.acknowledged_at is None:
            alarm.acknowledged_at = datetime.now(UTC)
            alarm.acknowledged_by = sanitize(actor.name)[:200]
            alarm.save(update_fields=["acknowledged_at", "acknowledged_by"])
            record.changed(alarm)
            record.event(
                EventKind.ALARM_ACKNOWLEDGED,
                actor=actor,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    "alarm": alarm.pk,
                    "alarm_kind": str(alarm.kind),
                    "subject": alarm.subject,
                    "acknowledged_at": canonical_json.utc_text(alarm.acknowledged_at),
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
