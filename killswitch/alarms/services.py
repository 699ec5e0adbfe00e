"""Raises alarms for the configured channels; records who acknowledged them, and why others ended.

Both lock the rows of alarms in the order of their keys, before the revision.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from killswitch.alarms.models import Alarm, AlarmKind, Delivery
from killswitch.audit import canonical_json
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import current_recording, recording
from killswitch.runtime.http import MAX_ID
from killswitch.runtime.text import sanitize, truncate

MAX_SUBJECT_CHARS = 200
MAX_TITLE_CHARS = 300
MAX_DETAIL_CHARS = 10_000
MAX_NOTE_CHARS = 500
MAX_RESOLUTION_CHARS = 300

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,40})://")


class SelfAcknowledgement(Exception):
    """An alarm about a user's own account must be acknowledged by another person."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """Who acknowledges alarms, and what they note.

    `is_only_officer`: no other risk officer exists, and this one has confirmed their password; then
    they may also acknowledge what reports a change to their own account, which is recorded.
    """

    actor: Actor
    user_pk: int | None = None
    note: str = ""
    is_only_officer: bool = False


def channels() -> dict[str, str]:
    """Return the configured URLs by label, e.g. `1: mailto`: the URLs themselves hold secrets."""
    return _labelled(settings.ALERT_URLS)


def archives() -> dict[str, str]:
    """Return the URLs of the archives, by label."""
    return _labelled(settings.ARCHIVE_URLS)


def _labelled(urls: Sequence[str]) -> dict[str, str]:
    urls_by_label = {}
    for number, url in enumerate(urls, 1):
        scheme = _SCHEME.match(url)
        urls_by_label[f"{number}: {scheme[1].lower() if scheme else 'not a URL'}"] = url
    return urls_by_label


def first_channels() -> list[str]:
    """Return the channels that are notified of a new alarm: all, or the first of an escalation."""
    labels = list(channels())
    return labels[:1] if settings.ALERT_ESCALATE_AFTER_MIN else labels


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
    Delivery.objects.bulk_create(Delivery(alarm=alarm, channel=label) for label in first_channels())
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
    acknowledge_all([alarm_id], by=Acknowledgement(actor=actor, user_pk=user_pk))
    return Alarm.objects.get(pk=alarm_id)


def acknowledge_all(alarm_ids: Iterable[int], *, by: Acknowledgement) -> list[Alarm]:
    """Record who acknowledged these alarms, in one transaction with an event each.

    Return those that were acknowledged: one that is acknowledged or resolved already stays. Raises
    `Alarm.DoesNotExist` if one is missing, and `SelfAcknowledgement` if one is about this user and
    another risk officer could acknowledge it; then none is acknowledged.
    """
    ids = set(alarm_ids)
    with recording() as record:
        rows = Alarm.objects.filter(pk__in=[pk for pk in ids if pk <= MAX_ID]).order_by("pk")
        alarms = list(rows.select_for_update(no_key=True))
        if len(alarms) != len(ids):
            raise Alarm.DoesNotExist
        new = [alarm for alarm in alarms if alarm.is_unacknowledged]
        if not by.is_only_officer and any(is_about(alarm, by.user_pk) for alarm in new):
            raise SelfAcknowledgement
        for alarm in new:
            alarm.acknowledged_at = datetime.now(UTC)
            alarm.acknowledged_by = sanitize(by.actor.name)[:200]
            alarm.note = truncate(sanitize(by.note), MAX_NOTE_CHARS)
            alarm.by_person_concerned = is_about(alarm, by.user_pk)
            alarm.save(
                update_fields=["acknowledged_at", "acknowledged_by", "note", "by_person_concerned"]
            )
            record.changed(alarm)
            record.event(
                EventKind.ALARM_ACKNOWLEDGED,
                actor=by.actor,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    **identity(alarm),
                    "acknowledged_at": canonical_json.utc_text(alarm.acknowledged_at),
                    "note": alarm.note,
                    "by_person_concerned": alarm.by_person_concerned,
                },
            )
    return new


def resolve(alarm_ids: Iterable[int], *, resolution: str) -> None:
    """Record that the cause of these alarms is gone, unless a person was faster."""
    with recording() as record:
        rows = Alarm.objects.unacknowledged().filter(pk__in=list(alarm_ids)).order_by("pk")
        for alarm in rows.select_for_update(no_key=True):
            alarm.resolved_at = datetime.now(UTC)
            alarm.resolution = truncate(sanitize(resolution), MAX_RESOLUTION_CHARS)
            alarm.save(update_fields=["resolved_at", "resolution"])
            record.changed(alarm)
            record.event(
                EventKind.ALARM_RESOLVED,
                exchange_id=alarm.exchange_id,
                request_id=alarm.request_id,
                data={
                    **identity(alarm),
                    "resolved_at": canonical_json.utc_text(alarm.resolved_at),
                    "resolution": alarm.resolution,
                },
            )


def identity(alarm: Alarm) -> dict[str, Any]:
    """Return how an event names an alarm."""
    return {"alarm": alarm.pk, "alarm_kind": str(alarm.kind), "subject": alarm.subject}


def _bounded_subject(subject: str) -> str:
    """Return the subject, or if it is too long its beginning with the hash of all of it."""
    subject = sanitize(subject)
    if len(subject) <= MAX_SUBJECT_CHARS:
        return subject
    digest = hashlib.sha256(subject.encode()).hexdigest()
    return f"{subject[: MAX_SUBJECT_CHARS - len(digest) - 1]}…{digest}"
