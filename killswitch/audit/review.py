"""Reviews events: each action is an event of its own, and no event is edited.

The events of a request are reviewed one by one, so an event that is added to it later needs a
review of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.db import DatabaseError, IntegrityError
from django.db.models import Exists, OuterRef, Q

from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.needing_review import needing
from killswitch.audit.recorder import recording

MAX_EVENTS: Final = 500
MAX_NOTE_CHARS: Final = 1000  # as the column

REVIEW_COLUMNS: Final = ("state", "note", "by", "at", "review_seq")
# What a reviewer does with an event; each action is a kind of event.
REVIEW_ACTIONS: Final = (EventKind.REVIEWED, EventKind.QUERIED, EventKind.CLOSED)
# The kinds of events that set the state of a review; the person whom a query asks answers it.
REVIEW_STATES: Final = (*REVIEW_ACTIONS, EventKind.QUERY_ANSWERED)
# A query is open until compliance closes it, also when it has been answered.
OPEN_QUERY: Final = (EventKind.QUERIED, EventKind.QUERY_ANSWERED)
# Which actions may follow the current state of an event, which is empty before the first one.
FOLLOWING: Final[Mapping[str, Sequence[EventKind]]] = {
    "": (EventKind.REVIEWED, EventKind.QUERIED),
    EventKind.REVIEWED: (EventKind.QUERIED,),
    EventKind.QUERIED: (EventKind.QUERIED, EventKind.CLOSED),
    EventKind.QUERY_ANSWERED: (EventKind.QUERIED, EventKind.CLOSED),
    EventKind.CLOSED: (EventKind.QUERIED,),
}

log = structlog.get_logger(__name__)


class ReviewRefused(Exception):
    """This review is not possible; the message is a sentence for the reviewer."""


class ReviewConflict(ReviewRefused):
    """The event's state does not allow this, perhaps because of another reviewer just now."""


class ReviewNotRecorded(Exception):
    """The log did not take the event, so the review does not exist."""


@dataclass(frozen=True, kw_only=True)
class ReviewInput:
    """A reviewer's action on some events, as it came; `record_review` checks it."""

    mark: str
    seqs: Sequence[int]
    note: str
    by: Actor
    origin: Mapping[str, str]


def unreviewed() -> Q:
    """Return the condition for events that need a review and have none yet."""
    return needing() & Q(~Exists(Review.objects.filter(event_seq=OuterRef("seq"))))


def record_review(review: ReviewInput) -> AuditEvent:
    """Record a review and return its event, the last one if it concerns several requests.

    Raises `ReviewRefused`, `ReviewConflict`, `ReviewNotRecorded`.
    """
    _check_input(review)
    try:
        return _record(review)
    except IntegrityError as error:
        # Another reviewer may have been faster, which shows now; otherwise the log took no event.
        _check_states(review, Review.objects.in_bulk(review.seqs))
        raise ReviewNotRecorded from error
    except DatabaseError as error:
        log.warning("review_not_recorded", error=str(error))
        raise ReviewNotRecorded from error


def review_rows(event: AuditEvent) -> list[Review]:
    """Return the row of each event that an event of `REVIEW_STATES` names."""
    data = read(event)
    return [
        Review(
            event_seq=seq,
            state=event.kind,
            note=data.text("note"),
            by=event.actor,
            at=event.at,
            review_seq=event.seq,
        )
        for seq in data.numbers("events")
    ]


def _check_input(review: ReviewInput) -> None:
    if review.mark not in REVIEW_ACTIONS:
        raise ReviewRefused("Choose Mark as reviewed, Raise query or Close query.")
    if not review.seqs:
        raise ReviewRefused("Nothing is selected. Select at least one event.")
    if len(review.seqs) > MAX_EVENTS:
        raise ReviewRefused(f"Select at most {MAX_EVENTS} events at once.")
    if review.mark != EventKind.REVIEWED and not review.note:
        raise ReviewRefused("A note is required to raise or close a query.")
    if len(review.note) > MAX_NOTE_CHARS:
        raise ReviewRefused(f"The note is longer than {MAX_NOTE_CHARS} characters.")


def _check_states(review: ReviewInput, rows: Mapping[int, Review]) -> None:
    for seq in review.seqs:
        row = rows.get(seq)
        if review.mark in FOLLOWING[row.state if row else ""]:
            continue
        if row is None or (row.state == EventKind.REVIEWED and review.mark == EventKind.CLOSED):
            raise ReviewConflict(f"Event {seq} has no open query to close.")
        by_at = f"by {row.by} at {row.at:%Y-%m-%d %H:%M:%S} UTC"
        if row.state in OPEN_QUERY:
            act = "raised" if row.state == EventKind.QUERIED else "answered"
            raise ReviewConflict(
                f"Event {seq} has an open query, {act} {by_at}. Close the query first."
            )
        state = EventKind(row.state).label.lower()
        raise ReviewConflict(f"Event {seq} is already {state} ({by_at}).")


def _record(review: ReviewInput) -> AuditEvent:
    with recording() as record:
        rows_before = Review.objects.select_for_update().filter(event_seq__in=review.seqs)
        before = {row.event_seq: row for row in rows_before.order_by("event_seq")}
        _check_states(review, before)
        if review.mark != EventKind.REVIEWED:
            record.take_revision()  # pages show open queries to those whom they ask
        record.add(*(_new_event(review, group, before) for group in _groups(review.seqs)))
        # Their numbers go into the rows, which are new or locked, so writing them waits for none.
        events = record.write_events()
        rows = [row for event in events for row in review_rows(event)]
        Review.objects.bulk_create(row for row in rows if row.event_seq not in before)
        Review.objects.bulk_update(
            (row for row in rows if row.event_seq in before),
            REVIEW_COLUMNS,
        )
    return events[-1]


def _groups(seqs: Sequence[int]) -> list[list[AuditEvent]]:
    """Return the events, those of one request together and every other one by itself."""
    events = list(AuditEvent.objects.filter(needing(), seq__in=seqs).order_by("seq"))
    if other_seqs := sorted(set(seqs) - {event.seq for event in events}):
        raise ReviewRefused(
            f"Event {other_seqs[0]} does not need a review. Deselect it and try again."
        )
    groups: dict[str, list[AuditEvent]] = {}
    for event in events:
        groups.setdefault(event.request_id or f"event {event.seq}", []).append(event)
    return list(groups.values())


def _new_event(
    review: ReviewInput, group: Sequence[AuditEvent], before: Mapping[int, Review]
) -> NewEvent:
    earlier = {before[event.seq].review_seq for event in group if event.seq in before}
    data: dict[str, Any] = {
        "events": [event.seq for event in group],
        "note": review.note,
        "before": sorted(earlier),
        **review.origin,
    }
    # A reviewer's own events are allowed, because there may be no second person, and recorded.
    if own := [event.seq for event in group if event.actor == review.by.name]:
        data["own"] = own
    return NewEvent(
        kind=EventKind(review.mark),
        actor=review.by,
        exchange_id=group[0].exchange_id,
        request_id=group[0].request_id,
        data=data,
    )
