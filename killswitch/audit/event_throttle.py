"""Limits repeated events, such as one person's denials, so that they cannot flood the log."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from django.db import transaction

from killswitch.audit.chain import NewEvent
from killswitch.audit.models import EventKind, ThrottledEvent
from killswitch.audit.recorder import recording

WINDOW = timedelta(hours=1)
MAX_SUBJECT_CHARS = 300  # as the column
# More than are added at a time, and little work for the request that happens to delete them.
MAX_DELETED_ROWS = 100


def count(kind: EventKind, subject: str) -> int | None:
    """Count this repetition; return its number within the hour if it is 1, 10, 100 …, else None.

    The row is locked while it is counted, so no two processes get the same number.
    """
    if len(subject) > MAX_SUBJECT_CHARS:
        subject = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    with transaction.atomic():
        now = datetime.now(UTC)
        row, is_new = ThrottledEvent.objects.select_for_update().get_or_create(
            kind=kind, subject=subject, defaults={"since": now, "count": 1}
        )
        if is_new:
            # Some of the expired rows, except those that another process has locked.
            old_rows = ThrottledEvent.objects.filter(since__lte=now - WINDOW).order_by("since")
            keys = old_rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
            ThrottledEvent.objects.filter(pk__in=list(keys[:MAX_DELETED_ROWS])).delete()
        else:
            # In both directions: while this process waited for the row, another one may have
            # written a later time, and a clock that was set back must not keep the window open.
            if abs(now - row.since) >= WINDOW:
                row.since, row.count = now, 0
            row.count += 1
            row.save()
    is_power_of_ten = str(row.count).rstrip("0") == "1"
    return row.count if is_power_of_ten else None


def record_counted(event: NewEvent, *, subject: str) -> None:
    """Record the event, with its number as `data.count`, unless this repetition is left out."""
    with recording() as record:
        number = count(event.kind, subject)
        if number is not None:
            record.add(replace(event, data={**event.data, "count": number}))
