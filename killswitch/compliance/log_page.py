"""The log as compliance reads it: newest first, page by page, each event in words.

A page is found by the place where it begins, so that it stays put while new events arrive.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Q, QuerySet
from django.http import QueryDict

from killswitch.audit import chain, event_data
from killswitch.audit.descriptions import describe
from killswitch.audit.filter_fields import short
from killswitch.audit.filters import Cursor, EventFilter, InvalidFilter
from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.review import FOLLOWING, ReviewAction, needs_review

PAGE_SIZE: Final = 50  # events
MAX_COUNTED: Final = 10_000  # a filter's events are counted no further
MAX_DATA_CHARS: Final = 4000  # characters of an event's data on a page of many
MAX_SEQ: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One event in words, with what was said of it in a review."""

    event: AuditEvent
    review: Review | None
    status: str
    reject_reason: str
    open_after: int | None
    sentence: str
    data: str
    is_cut: bool

    @property
    def needs_review(self) -> bool:
        return needs_review(self.event)

    @property
    def batch(self) -> str:
        """The press of a request, for its link."""
        return event_data.read(self.event).text("batch")


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Some events, newest first, and the places where the pages beside this one begin."""

    entries: Sequence[LogEntry]
    newer: int | None
    older: int | None
    count: str

    @classmethod
    def of(cls, selection: EventFilter, *, query: QueryDict) -> Self:
        """The page that a query string names. Raises `BadSelection`."""
        before, after = (_place(query, name, selection=selection) for name in ("before", "after"))
        every = AuditEvent.objects.all()
        if after and not before:
            found = list(_oldest_first(selection, after=after)[: PAGE_SIZE + 1])
            more_newer, more_older = len(found) > PAGE_SIZE, True
            shown = found[:PAGE_SIZE][::-1]
        else:
            found = list(selection.newest_first(every, before=before)[: PAGE_SIZE + 1])
            more_newer, more_older = before is not None, len(found) > PAGE_SIZE
            shown = found[:PAGE_SIZE]
        is_all = not before and not after and not more_older
        return cls(
            entries=entries(shown),
            newer=shown[0].seq if shown and more_newer else None,
            older=shown[-1].seq if shown and more_older else None,
            count=_said(len(shown)) if is_all else tally(selection),
        )


def entries(events: Sequence[AuditEvent], *, whole: bool = False) -> list[LogEntry]:
    """The events with their reviews, in one query more."""
    marked = [event.seq for event in events if needs_review(event)]
    reviews = Review.objects.in_bulk(marked)
    return [_entry(event, review=reviews.get(event.seq), whole=whole) for event in events]


@dataclass(frozen=True, kw_only=True)
class SuggestedReview:
    """Those events of a request of which the same can be said, and what that is."""

    seqs: Sequence[int]
    marks: Sequence[str]

    @property
    def title(self) -> str:
        return f"Review event{'s' * (len(self.seqs) > 1)} {', '.join(map(str, self.seqs))}"


def suggested_review(found: Sequence[LogEntry]) -> SuggestedReview | None:
    """What nobody has marked comes first, then open queries, then the rest."""
    by_state: dict[str, list[int]] = {}
    for entry in found:
        if entry.needs_review:
            state = entry.review.state if entry.review else ""
            by_state.setdefault(state, []).append(entry.event.seq)
    for state in ("", ReviewAction.QUERIED, ReviewAction.REVIEWED, ReviewAction.CLOSED):
        if seqs := by_state.get(state):
            marks = [str(each) for each in ReviewAction if each in FOLLOWING[state]]
            return SuggestedReview(seqs=seqs, marks=marks)
    return None


def of_request(request_id: str) -> list[LogEntry]:
    """Everything that the log says of a request, oldest first."""
    return entries(list(AuditEvent.objects.filter(request_id=request_id).order_by("seq")))


def tally(selection: EventFilter) -> str:
    """How many events are selected, as far as that can be said quickly."""
    if selection.is_everything:
        return _said(chain.head().seq)  # numbered without gaps
    selected = selection.filter(AuditEvent.objects.all()).order_by()
    return _said(selected[: MAX_COUNTED + 1].count())


def _said(count: int) -> str:
    if count > MAX_COUNTED:
        return f"{MAX_COUNTED:,}+ events"
    return f"{count:,} event{'' if count == 1 else 's'}"


def _entry(event: AuditEvent, *, review: Review | None, whole: bool) -> LogEntry:
    data = event_data.laid_out(event)
    is_cut = not whole and len(data) > MAX_DATA_CHARS
    return LogEntry(
        event=event,
        review=review,
        status=event.status,
        reject_reason=event.reject_reason,
        open_after=event_data.read(event).number("open_after"),
        sentence=describe(event),
        data=data[:MAX_DATA_CHARS] if is_cut else data,
        is_cut=is_cut,
    )


def _place(query: QueryDict, name: str, *, selection: EventFilter) -> Cursor | None:
    text = query.get(name, "")
    if not text:
        return None
    seq = parse_seq(text)
    event = AuditEvent.objects.filter(seq=seq).only("seq", "at").first() if seq else None
    if event is None:
        why = f"{name}: there is no event “{short(text)}” at which a page could begin."
        raise InvalidFilter(errors={name: why}, given=selection.as_text())
    return Cursor(seq=event.seq, at=event.at)


def _oldest_first(selection: EventFilter, *, after: Cursor) -> QuerySet[AuditEvent]:
    """What comes after a place, the nearest first: the page above it, upside down."""
    selected = selection.filter(AuditEvent.objects.all())
    if not selection.is_by_time:
        return selected.filter(seq__gt=after.seq).order_by("seq")
    same = Q(at__gt=after.at) | Q(at=after.at, seq__gt=after.seq)
    return selected.filter(Q(at__gte=after.at) & same).order_by("at", "seq")


def parse_seq(text: str) -> int | None:
    """A sequence number as it may stand in an address."""
    usable = text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= MAX_SEQ
    return int(text) if usable else None


def given(query: Mapping[str, str]) -> dict[str, str]:
    """What a form shows again as it was typed."""
    return {name: query[name] for name in EventFilter.NAMES if query.get(name)}


def seqs(texts: Iterable[str]) -> list[int]:
    """The events that a form names, each once, nonsense left out."""
    return sorted({seq for text in texts if (seq := parse_seq(text))})
