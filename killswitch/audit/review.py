"""Marks events as reviewed, queried or closed: an event each time, and nothing is edited.

What needs a review is said here and nowhere else. A request is reviewed as far as its events have
come: whatever is added to it afterwards needs another look.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.audit.event_data import read
from killswitch.audit.models import AuditEvent, Kind, Review

MAX_EVENTS: Final = 200  # events marked at once
MAX_NOTE_CHARS: Final = 1000  # characters, as the column
NEEDING: Final = frozenset(
    {
        Kind.REQUESTED,
        Kind.FINISHED,
        Kind.REASON_COMPLETED,
        Kind.DENIED,
        Kind.EXCHANGE_ADDED,
        Kind.EXCHANGE_CHANGED,
        Kind.PERSON_ADDED,
        Kind.PERSON_CHANGED,
        Kind.ROLE_CHANGED,
        Kind.PASSWORD_CHANGED,
        Kind.SECOND_FACTOR_ADDED,
        Kind.SECOND_FACTOR_REMOVED,
        Kind.SECOND_FACTOR_RESET,
        Kind.RECOVERY_CODES_RENEWED,
        Kind.RECOVERY_CODE_USED,
        Kind.GUARDS_PUT_BACK,
        Kind.EXPORTED,
    }
)

log = structlog.get_logger(__name__)


class ReviewAction(StrEnum):
    """What a reviewer says of an event; each is also a kind of event."""

    REVIEWED = "REVIEWED"
    QUERIED = "QUERIED"
    CLOSED = "CLOSED"


REVIEW_ACTIONS: Final = tuple(str(action) for action in ReviewAction)
# What may follow a mark; nothing has been said of an event without one.
FOLLOWING: Final[Mapping[str, frozenset[ReviewAction]]] = {
    "": frozenset({ReviewAction.REVIEWED, ReviewAction.QUERIED}),
    ReviewAction.REVIEWED: frozenset({ReviewAction.QUERIED}),
    ReviewAction.QUERIED: frozenset({ReviewAction.QUERIED, ReviewAction.CLOSED}),
    ReviewAction.CLOSED: frozenset({ReviewAction.QUERIED}),
}


class ReviewRefused(Exception):
    """What was asked cannot be marked: a sentence that says why."""


class ReviewConflict(ReviewRefused):
    """It was marked before, or by somebody else a moment ago."""


class ReviewNotRecorded(Exception):
    """The log did not take the event, so nothing was marked."""


@dataclass(frozen=True, kw_only=True)
class ReviewInput:
    """What a person says of some events; whether it can be said is seen when it is recorded."""

    mark: str
    seqs: Sequence[int]
    note: str
    by: Actor
    origin: Mapping[str, str]


def needing() -> Q:
    """Events that somebody has to look at. An alarm of a request belongs to the request."""
    return Q(kind__in=sorted(NEEDING)) | Q(kind=Kind.ALARM_RAISED, request_id="")


def unreviewed() -> Q:
    """Those of them that nobody has marked yet."""
    marked = Exists(Review.objects.filter(event_seq=OuterRef("seq")))
    return needing() & Q(~marked)


def needs_review(event: AuditEvent) -> bool:
    """The same for one event that is at hand."""
    return event.kind in NEEDING or (event.kind == Kind.ALARM_RAISED and not event.request_id)


def record_review(remark: ReviewInput) -> AuditEvent:
    """Record what was said; returns the last of the events that say so.

    Raises `Refused`, `Conflict`, `NotRecorded`.
    """
    _check_words(remark)
    try:
        return _record(remark)
    except IntegrityError as error:
        # Somebody was a moment faster, which shows now; or the log took no event.
        _check_marks(remark, Review.objects.in_bulk(remark.seqs))
        raise ReviewNotRecorded from error
    except DatabaseError as error:
        log.warning("review_not_recorded", error=str(error))
        raise ReviewNotRecorded from error


def _check_words(remark: ReviewInput) -> None:
    if remark.mark not in REVIEW_ACTIONS:
        raise ReviewRefused(
            "An event is reviewed, queried, or its query closed: choose one of these."
        )
    if not remark.seqs:
        raise ReviewRefused("Nothing was chosen: tick at least one event.")
    if len(remark.seqs) > MAX_EVENTS:
        raise ReviewRefused(f"At most {MAX_EVENTS} events are marked at once.")
    if remark.mark != ReviewAction.REVIEWED and not remark.note:
        raise ReviewRefused(
            "A query needs a note that says what is asked, and its end one that answers."
        )
    if len(remark.note) > MAX_NOTE_CHARS:
        raise ReviewRefused(f"The note is longer than {MAX_NOTE_CHARS} characters.")


def _record(remark: ReviewInput) -> AuditEvent:
    with transaction.atomic():
        marked = Review.objects.select_for_update().filter(event_seq__in=remark.seqs)
        before = {row.event_seq: row for row in marked.order_by("event_seq")}
        _check_marks(remark, before)
        groups = _groups(_events(remark.seqs))
        append(*(_fact(remark, group, before) for group in groups))
        # Nobody else appends before the commit, so these are the ones.
        said = _newest(len(groups))
        rows = [row for event in said for row in rows_of(event)]
        Review.objects.bulk_create(row for row in rows if row.event_seq not in before)
        Review.objects.bulk_update(
            (row for row in rows if row.event_seq in before),
            ["state", "note", "by", "at", "review_seq"],
        )
    return said[-1]


def rows_of(event: AuditEvent) -> list[Review]:
    """What a mark in the log says of each event that it names."""
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


def _check_marks(remark: ReviewInput, before: Mapping[int, Review]) -> None:
    for seq in remark.seqs:
        row = before.get(seq)
        if remark.mark in FOLLOWING[row.state if row else ""]:
            continue
        if row is None:
            raise ReviewConflict(f"Event {seq} has no open query that could be closed.")
        words = Kind(row.state).label.lower()
        raise ReviewConflict(
            f"Event {seq} was marked “{words}” by {row.by} at {row.at:%Y-%m-%d %H:%M:%S} UTC,"
            f" and cannot be marked “{Kind(remark.mark).label.lower()}” now."
        )


def _events(seqs: Sequence[int]) -> list[AuditEvent]:
    found: QuerySet[AuditEvent] = AuditEvent.objects.filter(needing(), seq__in=seqs)
    events = list(found.order_by("seq"))
    if missing := sorted(set(seqs) - {event.seq for event in events}):
        raise ReviewRefused(f"Event {missing[0]} is not one that is reviewed.")
    return events


def _groups(events: Iterable[AuditEvent]) -> list[list[AuditEvent]]:
    """The events of a request together, every other one by itself."""
    groups: dict[str, list[AuditEvent]] = {}
    for event in events:
        groups.setdefault(event.request_id or f"event {event.seq}", []).append(event)
    return list(groups.values())


def _fact(
    remark: ReviewInput, group: Sequence[AuditEvent], before: Mapping[int, Review]
) -> NewEvent:
    own = [event.seq for event in group if event.actor == remark.by.name]
    earlier = {before[event.seq].review_seq for event in group if event.seq in before}
    data: dict[str, Any] = {
        "events": [event.seq for event in group],
        "note": remark.note,
        "before": sorted(earlier),
        **remark.origin,
    }
    if own:  # allowed, because there may be nobody else, and told to whoever reads the log
        data["own"] = own
    return NewEvent(
        kind=Kind(remark.mark),
        actor=remark.by,
        exchange_id=group[0].exchange_id,
        request_id=group[0].request_id,
        data=data,
    )


def _newest(count: int) -> list[AuditEvent]:
    return list(AuditEvent.objects.order_by("-seq")[:count])[::-1]
