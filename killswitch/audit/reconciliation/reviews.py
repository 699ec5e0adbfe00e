"""Tells when the table of reviews differs from what the log says."""

from collections.abc import Iterator, Sequence

from django.db.models import Count

from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.review import REVIEW_ACTIONS, rows_of
from killswitch.audit.verification.findings import Progress

BATCH_SIZE = 500  # rows
EVENTS_BATCH_SIZE = 100  # each names 200 others at most
COLUMNS = ("state", "note", "by", "at", "review_seq")


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """Rows that do not say what the log says. Only a whole verification looks at them.

    A row is written together with the event that says so. So an event that is read after its row,
    and a row that is read after its event, agree whoever marks meanwhile.
    """
    if ids is not None:
        return
    yield from _twice()
    done = 0
    for rows in _rows():
        yield from _unfounded(rows)
        done += len(rows)
        progress("reviews", done, 0)
    done = 0
    for events in _events():
        yield from _unkept(events)
        done += len(events)
        progress("reviews in the log", done, 0)


def _twice() -> Iterator[Discrepancy]:
    """Events with two rows, of which a look by number finds one and the pages another."""
    counted = Review.objects.values_list("event_seq").annotate(rows=Count("*"))
    for seq, rows in counted.filter(rows__gt=1).order_by("event_seq")[:1]:
        yield Discrepancy(seq=seq, reason=f"event {seq} is marked by {rows} rows")


def _unfounded(rows: Sequence[Review]) -> Iterator[Discrepancy]:
    """Rows of which the event that they name says nothing."""
    events = AuditEvent.objects.in_bulk([row.review_seq for row in rows])
    for row in rows:
        event = events.get(row.review_seq)
        said = rows_of(event) if event and event.kind in REVIEW_ACTIONS else []
        if row.event_seq not in {one.event_seq for one in said}:
            reason = f"event {row.event_seq} is marked, and no event says so"
            yield Discrepancy(seq=row.event_seq, reason=reason)


def _unkept(events: Sequence[AuditEvent]) -> Iterator[Discrepancy]:
    """Marks whose row is gone, says something else, or is older."""
    wanted = [row for event in events for row in rows_of(event)]
    rows = Review.objects.in_bulk([one.event_seq for one in wanted])
    for one in wanted:
        row = rows.get(one.event_seq)
        if row is None:
            reason = f"the mark of event {one.event_seq} is gone: event {one.review_seq} says it"
            yield Discrepancy(seq=one.review_seq, reason=reason)
        elif row.review_seq < one.review_seq or (
            row.review_seq == one.review_seq and _differ(row, one)
        ):
            reason = f"the mark of event {one.event_seq} is not what event {one.review_seq} says"
            yield Discrepancy(seq=one.review_seq, reason=reason)


def _differ(row: Review, wanted: Review) -> bool:
    return any(getattr(row, name) != getattr(wanted, name) for name in COLUMNS)


def _rows() -> Iterator[list[Review]]:
    rows = Review.objects.order_by("event_seq")
    page = list(rows[:BATCH_SIZE])
    while page:
        yield page
        page = list(rows.filter(event_seq__gt=page[-1].event_seq)[:BATCH_SIZE])


def _events() -> Iterator[list[AuditEvent]]:
    """Kind by kind, for which there is an index."""
    for kind in REVIEW_ACTIONS:
        last = 0
        marks = AuditEvent.objects.filter(kind=kind).order_by("seq")
        while page := list(marks.filter(seq__gt=last)[:EVENTS_BATCH_SIZE]):
            yield page
            last = page[-1].seq
