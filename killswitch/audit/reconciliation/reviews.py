"""Compares the table of reviews with the events of the reviews."""

from collections.abc import Iterator, Sequence

from django.db.models import Count

from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.reconciliation.comparison import batches, discrepancy, reconcilers
from killswitch.audit.review import REVIEW_COLUMNS, REVIEW_STATES, review_rows
from killswitch.audit.verification.findings import Finding, Progress

EVENTS_BATCH_SIZE = 100  # each may name 500 other events


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Finding]:
    """Compare all reviews; an incremental verification compares none.

    A row is committed together with its event. So a row agrees with an event that is read after
    it, and an event with a row that is read after it, even while reviews are being recorded.
    """
    if ids is not None:
        return
    counts = Review.objects.values_list("event_seq").annotate(rows=Count("*"))
    for seq, count in counts.filter(rows__gt=1).order_by("event_seq")[:1]:
        yield discrepancy(f"event {seq} has {count} review rows", seq=seq)
    for rows in batches(Review.objects.all(), by="event_seq", subject="reviews", progress=progress):
        yield from _rows_without_event(rows)
    # There is an index for one kind at a time.
    of_kinds = (AuditEvent.objects.filter(kind=kind) for kind in REVIEW_STATES)
    for events in batches(
        *of_kinds,
        by="seq",
        size=EVENTS_BATCH_SIZE,
        subject="reviews in the log",
        progress=progress,
    ):
        yield from _events_without_row(events)


def _rows_without_event(rows: Sequence[Review]) -> Iterator[Finding]:
    events = AuditEvent.objects.in_bulk([row.review_seq for row in rows])
    for row in rows:
        event = events.get(row.review_seq)
        logged_rows = review_rows(event) if event and event.kind in REVIEW_STATES else []
        if row.event_seq not in {event_row.event_seq for event_row in logged_rows}:
            reason = f"event {row.event_seq} has a review row, but no event records that review"
            yield discrepancy(reason, seq=row.event_seq)


def _events_without_row(events: Sequence[AuditEvent]) -> Iterator[Finding]:
    """Yield the reviews with a row that is missing, different or older."""
    logged_rows = [row for event in events for row in review_rows(event)]
    rows = Review.objects.in_bulk([event_row.event_seq for event_row in logged_rows])
    for event_row in logged_rows:
        row, seq = rows.get(event_row.event_seq), event_row.review_seq
        is_newer = row is not None and row.review_seq > seq
        if not is_newer and any(
            getattr(row, name, None) != getattr(event_row, name) for name in REVIEW_COLUMNS
        ):
            problem = "differs" if row else "is missing"
            reason = f"the review of event {event_row.event_seq} {problem}: event {seq} records it"
            yield discrepancy(reason, seq=seq)


reconcilers.append(discrepancies)
