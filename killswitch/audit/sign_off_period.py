"""Signs off a period of the log: one event with its first and last number, its head and counts.

The event stands for what the reviewer saw: what is counted, and which numbers it goes from and
to, is read again in the transaction that records it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

import structlog
from django.db import DatabaseError, transaction
from django.db.models import Count, Max, Min, QuerySet

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.chain import Actor, NewEvent, append
from killswitch.audit.models import AuditEvent, Kind, Review
from killswitch.audit.review import MAX_NOTE_CHARS, ReviewAction, ReviewNotRecorded, needing
from killswitch.audit.verification import result
from killswitch.compliance.sign_offs import SignOff, newest

log = structlog.get_logger(__name__)


class SignOffRefused(Exception):
    """This cannot be signed off: a sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class ReviewCounts:
    """How many of the events that need a review have had one."""

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
    """A stretch of the log without gaps, and what is in it. Nothing here is signed yet."""

    from_at: datetime
    to_at: datetime
    first_seq: int
    last_seq: int
    head: str  # the hash of the last event, which stands for all before it
    kinds: Mapping[str, int]
    outcomes: Mapping[str, int]
    review: ReviewCounts
    verification: Mapping[str, Any] | None
    follows: int | None  # the last event of the newest period signed before this one

    @property
    def events(self) -> int:
        return self.last_seq - self.first_seq + 1

    @property
    def is_sound(self) -> bool:
        """Whether the newest verification reached the period's end and found nothing wrong."""
        last = self.verification
        return bool(last and last["ok"] and last["head_seq"] >= self.last_seq)

    @property
    def needs_note(self) -> bool:
        """Whether something is open that a note has to explain."""
        return not self.review.is_complete or not self.is_sound

    @property
    def gap(self) -> tuple[int, int] | None:
        """The events between the newest period and this one, which are in neither."""
        last = self.follows or 0
        return (last + 1, self.first_seq - 1) if self.first_seq > last + 1 else None

    @classmethod
    def of(cls, *, from_at: datetime, to_at: datetime) -> Self:
        """Everything that the log holds from one moment up to another. Raises `Refused`."""
        if to_at > datetime.now(UTC):
            raise SignOffRefused("This period is not over yet: its end must lie in the past.")
        within = AuditEvent.objects.filter(at__gte=from_at, at__lt=to_at)
        ends = within.aggregate(first=Min("seq"), last=Max("seq"))
        if ends["first"] is None:
            raise SignOffRefused("There is no event in this period.")
        events = AuditEvent.objects.filter(seq__gte=ends["first"], seq__lte=ends["last"])
        return cls(
            from_at=from_at,
            to_at=to_at,
            first_seq=ends["first"],
            last_seq=ends["last"],
            head=AuditEvent.objects.values_list("hash", flat=True).get(seq=ends["last"]),
            kinds=_counts(events, "kind"),
            outcomes=_counts(events.filter(kind=Kind.FINISHED), "status"),
            review=_reviewed(events, first=ends["first"], last=ends["last"]),
            verification=_verification(),
            follows=_last_signed(before=ends["last"]),
        )


def sign_off(*, period: Period, note: str, by: Actor, origin: Mapping[str, str]) -> AuditEvent:
    """Record that somebody answers for a period. Raises `Refused` and `NotRecorded`."""
    if period.needs_note and not note:
        raise SignOffRefused(
            "Something is open in this period: write a note that says why it is signed."
        )
    if len(note) > MAX_NOTE_CHARS:
        raise SignOffRefused(f"The note is longer than {MAX_NOTE_CHARS} characters.")
    fact = NewEvent(
        kind=Kind.PERIOD_SIGNED_OFF, actor=by, data={**_data(period, note=note), **origin}
    )
    try:
        with transaction.atomic():
            append(fact)
            # Nobody else appends before the commit, so this is the one.
            return AuditEvent.objects.latest("seq")
    except DatabaseError as error:
        log.warning("sign_off_not_recorded", error=str(error))
        raise ReviewNotRecorded from error


def _data(period: Period, *, note: str) -> dict[str, Any]:
    return {
        "from": utc_text(period.from_at),
        "to": utc_text(period.to_at),
        "first_seq": period.first_seq,
        "last_seq": period.last_seq,
        "head": period.head,
        "events": period.events,
        "kinds": dict(period.kinds),
        "outcomes": dict(period.outcomes),
        "review": asdict(period.review) | {"unreviewed": period.review.unreviewed},
        "verification": period.verification,
        "follows": period.follows,
        "note": note,
    }


def _counts(events: QuerySet[AuditEvent], column: str) -> dict[str, int]:
    rows = events.order_by().values_list(column).annotate(Count("seq"))
    return dict(sorted(rows))


def _reviewed(events: QuerySet[AuditEvent], *, first: int, last: int) -> ReviewCounts:
    marked = Review.objects.filter(event_seq__gte=first, event_seq__lte=last).order_by()
    states = dict(marked.values_list("state").annotate(Count("event_seq")))
    return ReviewCounts(
        needing=events.filter(needing()).count(),
        reviewed=states.get(ReviewAction.REVIEWED, 0),
        queried=states.get(ReviewAction.QUERIED, 0),
        closed=states.get(ReviewAction.CLOSED, 0),
    )


def _verification() -> dict[str, Any] | None:
    last = result.last()
    if last is None:
        return None
    return {
        "at": utc_text(last.at),
        "ok": last.ok,
        "head_seq": last.head_seq,
        "first_bad_seq": last.first_bad_seq,
        "reason": last.reason,
    }


def _last_signed(*, before: int) -> int | None:
    """The last number of the newest period that ends before this one does."""
    ends = [SignOff.of(event).last_seq for event in newest()]
    return max((seq for seq in ends if 0 < seq < before), default=None)
