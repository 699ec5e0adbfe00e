"""Decides which repetitions of a fact are worth an event, so that nobody can flood the log."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from django.db import transaction

from killswitch.audit.chain import NewEvent, append
from killswitch.audit.models import Kind, ThrottledEvent

WINDOW = timedelta(hours=1)
MAX_SUBJECT_CHARS = 300  # characters, as the column
MAX_DELETED_ROWS = 100  # rows at a time: more than come, and no long work for who brings one


def count(kind: Kind, subject: str) -> int | None:
    """The number of this repetition within the hour when it is 1, 10, 100 and so on, else None.

    The row is locked while it is counted: two processes never write the same number.
    """
    with transaction.atomic():
        now = datetime.now(UTC)
        row, is_new = ThrottledEvent.objects.select_for_update().get_or_create(
            kind=kind, subject=_bounded(subject), defaults={"since": now, "count": 1}
        )
        if is_new:
            _forget_some(before=now - WINDOW)
        else:
            # Either way: `now` may be older than what another process, perhaps on another clock,
            # wrote while this one waited for the row; and a clock set back must not keep it open.
            if abs(now - row.since) >= WINDOW:
                row.since, row.count = now, 0
            row.count += 1
            row.save()
    return row.count if _is_power_of_ten(row.count) else None


def record_counted(fact: NewEvent, *, subject: str) -> None:
    """Append the fact, with its number as `data.count`, if this repetition deserves an event."""
    with transaction.atomic():
        number = count(fact.kind, subject)
        if number is not None:
            append(replace(fact, data={**fact.data, "count": number}))


def _forget_some(*, before: datetime) -> None:
    """Rows that are over count for nothing; one that somebody else holds is left to them."""
    over = ThrottledEvent.objects.filter(since__lte=before).order_by("since")
    held = over.select_for_update(skip_locked=True).values_list("pk", flat=True)
    ThrottledEvent.objects.filter(pk__in=list(held[:MAX_DELETED_ROWS])).delete()


def _bounded(subject: str) -> str:
    if len(subject) <= MAX_SUBJECT_CHARS:
        return subject
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _is_power_of_ten(number: int) -> bool:
    return str(number).rstrip("0") == "1"
