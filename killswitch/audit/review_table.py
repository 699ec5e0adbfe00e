"""Keeps the table of reviews equal to what the log says: rebuilds it, and tells when it differs."""

from collections.abc import Iterator, Sequence

from django.db import transaction

from killswitch.audit.agreement import Disagreement
from killswitch.audit.findings import Progress
from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.review import MARKS, rows_of

AT_ONCE = 2000  # rows
COLUMNS = ("state", "note", "by", "at", "said_in")


def rebuild() -> int:
    """Write the table anew from the log; returns how many events have a mark."""
    with transaction.atomic():
        # Marking waits meanwhile: a mark locks its rows, and these are all of them.
        Review.objects.all().delete()
        wanted = _said()
        Review.objects.bulk_create(wanted.values(), batch_size=AT_ONCE)
    return len(wanted)


def disagreements(ids: Sequence[str] | None, progress: Progress) -> Iterator[Disagreement]:
    """Rows that do not say what the log says. Only a whole verification looks at them."""
    if ids is not None:
        return
    suspects = _differing()
    if suspects:
        with transaction.atomic():
            # What was marked between the two looks differs no longer.
            suspects = {seq: why for seq, why in _differing().items() if suspects.get(seq) == why}
    progress("reviews", 1, 1)
    for seq in sorted(suspects):
        yield Disagreement(seq=seq, reason=suspects[seq])


def _differing() -> dict[int, str]:
    """By the event that says otherwise, or that is spoken of."""
    said = _said()
    found: dict[int, str] = {}
    for row in Review.objects.order_by("event_seq").iterator(chunk_size=AT_ONCE):
        wanted = said.pop(row.event_seq, None)
        if wanted is None:
            found[row.event_seq] = f"event {row.event_seq} is marked, and no event says so"
        elif any(getattr(row, name) != getattr(wanted, name) for name in COLUMNS):
            found[wanted.said_in] = (
                f"the mark of event {row.event_seq} is not what event {wanted.said_in} says"
            )
    for seq, wanted in said.items():
        found[wanted.said_in] = f"the mark of event {seq} is gone: event {wanted.said_in} says it"
    return found


def _said() -> dict[int, Review]:
    """The last word on each event."""
    events = AuditEvent.objects.filter(kind__in=MARKS).order_by("seq")
    return {
        row.event_seq: row
        for event in events.iterator(chunk_size=AT_ONCE)
        for row in rows_of(event)
    }
