"""Signs off a period of the log: one event with its first and last number, its head and counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import structlog
from django.db import DatabaseError
from django.db.models import Count, Max, Min, Q, QuerySet

from killswitch.audit.actors import Actor
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind, Review, Verification
from killswitch.audit.needing_review import OF_HOLD, needing
from killswitch.audit.not_confirmed import not_confirmed
from killswitch.audit.recorder import recording
from killswitch.audit.review import (
    MAX_NOTE_CHARS,
    OPEN_QUERY,
    ReviewNotRecorded,
)

log = structlog.get_logger(__name__)


class SignOffRefused(Exception):
    """This period cannot be signed off; the message is a sentence for the reviewer."""


@dataclass(frozen=True, kw_only=True)
class ReviewCounts:
    """The events of a period that need a review, by their state."""

    needing: int
    reviewed: int
    queried: int
    closed: int

    @property
    def unreviewed(self) -> int:
        return self.needing - self.reviewed - self.queried - self.closed

    @property
    def is_complete(self) -> bool:
        return not self.unreviewed and not self.queried


@dataclass(frozen=True, kw_only=True)
class Period:
    """A part of the log without gaps, with its counts. It need not be signed off."""

    from_at: datetime
    to_at: datetime
    first_seq: int
    last_seq: int
    head: str  # the hash of the last event, which covers all events before it
    kinds: Mapping[str, int]
    outcomes: Mapping[str, int]  # of people's requests
    hold_outcomes: Mapping[str, int]  # of the requests of Holds
    not_confirmed: int  # of all requests, as known at this moment
    review: ReviewCounts
    verification: Mapping[str, Any] | None
    follows: int | None  # the last event of the latest period that was signed off before this one

    @property
    def events(self) -> int:
        return self.last_seq - self.first_seq + 1

    @property
    def is_sound(self) -> bool:
        """Return whether the latest verification covers the whole period and found no problem."""
        latest = self.verification
        return bool(latest and latest["ok"] and latest["head_seq"] >= self.last_seq)

    @property
    def needs_note(self) -> bool:
        """Return whether a note must explain why the period is signed off as it is."""
        return not self.review.is_complete or not self.is_sound

    @property
    def gap(self) -> tuple[int, int] | None:
        """Return the first and last event that no period before this one covers, if any."""
        after = (self.follows or 0) + 1
        return (after, self.first_seq - 1) if self.first_seq > after else None

    @classmethod
    def of(cls, *, from_at: datetime, to_at: datetime) -> Self:
        """Return the events from one moment up to another. Raises `SignOffRefused`."""
        if to_at > datetime.now(UTC):
            raise SignOffRefused(
                "This period is not over yet. Choose a last day before today (UTC)."
            )
        within = AuditEvent.objects.filter(at__gte=from_at, at__lt=to_at)
        ends = within.aggregate(first=Min("seq"), last=Max("seq"))
        if ends["first"] is None:
            raise SignOffRefused("There are no events in this period. Choose other days.")
        events = AuditEvent.objects.filter(seq__gte=ends["first"], seq__lte=ends["last"])
        columns = ("at", "ok", "head_seq", "first_bad_seq", "reason")
        finished = events.filter(kind=EventKind.FINISHED)
        of_hold = Q(data__contains=OF_HOLD)
        latest = Verification.objects.values(*columns).first()
        return cls(
            from_at=from_at,
            to_at=to_at,
            first_seq=ends["first"],
            last_seq=ends["last"],
            head=AuditEvent.objects.values_list("hash", flat=True).get(seq=ends["last"]),
            kinds=_counts(events, "kind"),
            outcomes=_counts(finished.exclude(of_hold), "status"),
            hold_outcomes=_counts(finished.filter(of_hold), "status"),
            not_confirmed=events.filter(not_confirmed()).count(),
            review=_review_counts(events, first=ends["first"], last=ends["last"]),
            verification={**latest, "at": utc_text(latest["at"])} if latest else None,
            follows=_last_signed_off(before=ends["last"]),
        )


def sign_off(*, period: Period, note: str, by: Actor, origin: Mapping[str, str]) -> AuditEvent:
    """Record a sign-off and return its event. Raises `SignOffRefused` and `ReviewNotRecorded`."""
    if period.needs_note and not note:
        raise SignOffRefused(
            "This period has unreviewed events or open queries, or is not fully verified."
            " Add a note that explains why you are signing it off."
        )
    if len(note) > MAX_NOTE_CHARS:
        raise SignOffRefused(f"The note is longer than {MAX_NOTE_CHARS} characters.")
    data = {
        "from": utc_text(period.from_at),
        "to": utc_text(period.to_at),
        "first_seq": period.first_seq,
        "last_seq": period.last_seq,
        "head": period.head,
        "events": period.events,
        "kinds": dict(period.kinds),
        "outcomes": dict(period.outcomes),
        "hold_outcomes": dict(period.hold_outcomes),
        "not_confirmed": period.not_confirmed,
        "review": asdict(period.review) | {"unreviewed": period.review.unreviewed},
        "verification": period.verification,
        "follows": period.follows,
        "note": note,
        **origin,
    }
    try:
        with recording() as record:
            record.event(EventKind.PERIOD_SIGNED_OFF, actor=by, data=data)
    except DatabaseError as error:
        log.warning("sign_off_not_recorded", error=str(error))
        raise ReviewNotRecorded from error
    return record.events[-1]


def _counts(events: QuerySet[AuditEvent], column: str) -> dict[str, int]:
    rows = events.order_by().values_list(column).annotate(Count("seq"))
    return dict(sorted(rows))


def _review_counts(events: QuerySet[AuditEvent], *, first: int, last: int) -> ReviewCounts:
    rows = Review.objects.filter(event_seq__gte=first, event_seq__lte=last).order_by()
    states = dict(rows.values_list("state").annotate(Count("event_seq")))
    return ReviewCounts(
        needing=events.filter(needing()).count(),
        reviewed=states.get(EventKind.REVIEWED, 0),
        queried=sum(states.get(state, 0) for state in OPEN_QUERY),
        closed=states.get(EventKind.CLOSED, 0),
    )


def _last_signed_off(*, before: int) -> int | None:
    """Return the last event of the latest period that ends before this number."""
    sign_offs = AuditEvent.objects.filter(kind=EventKind.PERIOD_SIGNED_OFF)
    ends = (read(event).number("last_seq") or 0 for event in sign_offs)
    return max((seq for seq in ends if 0 < seq < before), default=None)
