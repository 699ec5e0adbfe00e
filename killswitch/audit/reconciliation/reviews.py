"""Compares the table of reviews with the events of the reviews."""

from collections.abc import Iterator, Sequence

from django.db.models import Count

from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.review import REVIEW_ACTIONS, review_rows
from killswitch.audit.verification.findings import Progress

ROWS_BATCH_SIZE = 500
EVENTS_BATCH_SIZE = 100  # each may name 200 other events
COLUMNS = ("state", "note", "by", "at", "review_seq")


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """Compare all reviews; an incremental verification compares none.

    A row is committed together with its event. So a row agrees with an event that is read after
    it, and an event with a row that is read after it, even while reviews are being recorded.
    """
    if ids is not None:
        return
    counts = Review.objects.values_list("event_seq").annotate(rows=Count("*"))
    for seq, count in counts.filter(rows__gt=1).order_by("event_seq")[:1]:
        yield Discrepancy(seq=seq, reason=f"event {seq} has {count} review rows")
    done = 0
    for rows in _rows():
        yield from _rows_without_event(rows)
        done += len(rows)
        progress("reviews", done, 0)
    done = 0
    for events in _events():
        yield from _events_without_row(events)
        done += len(events)
        progress("reviews in the log", done, 0)


def _rows_without_event(rows: Sequence[Review]) -> Iterator[Discrepancy]:
    events = AuditEvent.objects.in_bulk([row.review_seq for row in rows])
    for row in rows:
        event = events.get(row.review_seq)
        logged = review_rows(event) if event and event.kind in REVIEW_ACTIONS else []
        if row.event_seq not in {logged_row.event_seq for logged_row in logged}:
            reason = f"event {row.event_seq} has a review row, but no event records that review"
            yield Discrepancy(seq=row.event_seq, reason=reason)


def _events_without_row(events: Sequence[AuditEvent]) -> Iterator[Discrepancy]:
    """Yield the reviews with a row that is missing, different or older."""
    logged_rows = [row for event in events for row in review_rows(event)]
    rows = Review.objects.in_bulk([logged.event_seq for logged in logged_rows])
    for logged in logged_rows:
        row = rows.get(logged.event_seq)
        if row is None:
            problem = "is missing"
        elif row.review_seq > logged.review_seq or all(
            getattr(row, name) == getattr(logged, name) for name in COLUMNS
        ):
            continue
        else:
            problem = "differs"
        seq = logged.review_seq
        reason = f"the review of event {logged.event_seq} {problem}: event {seq} records it"
        yield Discrepancy(seq=seq, reason=reason)


def _rows() -> Iterator[list[Review]]:
    rows = Review.objects.order_by("event_seq")
    page = list(rows[:ROWS_BATCH_SIZE])
    while page:
        yield page
        page = list(rows.filter(event_seq__gt=page[-1].event_seq)[:ROWS_BATCH_SIZE])


def _events() -> Iterator[list[AuditEvent]]:
    """Yield the events kind by kind, for which there is an index."""
    for kind in REVIEW_ACTIONS:
        last = 0
        events = AuditEvent.objects.filter(kind=kind).order_by("seq")
        while page := list(events.filter(seq__gt=last)[:EVENTS_BATCH_SIZE]):
            yield page
            last = page[-1].seq
