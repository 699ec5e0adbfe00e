"""The log as compliance reads it: newest first, page by page, each event in words.

A page is identified by the event at its edge, so that it stays the same while new events arrive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Final, Self

from django.http import QueryDict

from killswitch.audit import chain, event_reader, requesters
from killswitch.audit.descriptions import describe
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.needing_review import needs_review
from killswitch.audit.requesters import Requester
from killswitch.audit.review import FOLLOWING, OPEN_QUERY
from killswitch.runtime.filter_values import PAGE_SIZES, InvalidFilter, parse_page_size
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import pluralize_count, quoted

MAX_COUNTED: Final = 10_000
MAX_DATA_CHARS: Final = 4000  # on a page of many events


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One event in words, with the state of its review."""

    event: AuditEvent
    review: Review | None
    requester: Requester | None  # of the request whose outcome this is
    open_after: int | None
    description: str
    data: str
    is_cut: bool

    @property
    def reopened_seq(self) -> int | None:
        """Return the alarm that orders were open again after this outcome."""
        return self.requester.reopened_seq if self.requester else None

    @property
    def needs_review(self) -> bool:
        return needs_review(self.event)


@dataclass(frozen=True, kw_only=True)
class SearchedPart:
    """The part of the log in which a text was searched, and the event at which the next begins.

    A page shows it when the end of that part was reached before the page was full.
    """

    words: str
    edge: int
    is_newest_first: bool

    @classmethod
    def of(
        cls, part: range, *, selection: EventFilter, has_edge: bool, newest_first: bool
    ) -> Self | None:
        """Return the part with these numbers."""
        nearest = AuditEvent.objects.only("seq", "at")
        if newest_first:
            end = nearest.filter(seq__gte=part.start).order_by("seq").first()
        else:
            end = nearest.filter(seq__lt=part.stop).order_by("-seq").first()
        if end is None:
            return None
        if has_edge:
            events = f"{len(part):,} {'older' if newest_first else 'newer'} events"
        else:
            events = f"the newest {len(part):,} events"
            events += " of this time range" if selection.to_at else ""
        at = end.at.astimezone(UTC)
        limit = f"{'back' if newest_first else 'up'} to event {end.seq}"
        return cls(
            words=f"{events}, {limit} ({at.day} {at:%b} {at.year}, {at:%H:%M:%S} UTC)",
            edge=end.seq,
            is_newest_first=newest_first,
        )


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Some events, newest first, and the events at which the next pages begin."""

    entries: Sequence[LogEntry]
    newer: int | None
    older: int | None
    count: str
    size: int
    searched: SearchedPart | None  # None if everything was searched, or the page is full

    @classmethod
    def of(cls, selection: EventFilter, *, query: QueryDict) -> Self:
        """Return the page that a query string names. Raises `InvalidFilter`."""
        before, after = (_edge(query, name) for name in ("before", "after"))
        size, newest_first = _size(query), not after or before is not None
        edge = before if newest_first else after
        part = selection.search.part(edge, newest_first=newest_first)
        found = selection.search.page(edge, newest_first=newest_first, part=part)
        rows = list(found[: size + 1])
        is_full = len(rows) > size
        events = rows[:size] if newest_first else rows[:size][::-1]
        has_newer = before is not None if newest_first else is_full
        has_older = is_full if newest_first else True
        searched = None
        if part and not is_full:
            searched = SearchedPart.of(
                part, selection=selection, has_edge=edge is not None, newest_first=newest_first
            )
        return cls(
            entries=entries(events),
            newer=events[0].seq if events and has_newer else None,
            older=events[-1].seq if events and has_older else None,
            count=_count_text(selection, len(events), edge=edge, part=part, is_full=is_full),
            size=size,
            searched=searched,
        )


@dataclass(frozen=True, kw_only=True)
class SuggestedReview:
    """Those events of a request that the same review actions apply to."""

    seqs: Sequence[int]
    marks: Sequence[EventKind]

    @property
    def title(self) -> str:
        return f"Review event{'s' * (len(self.seqs) > 1)} {', '.join(map(str, self.seqs))}"


def entries(events: Sequence[AuditEvent], *, whole: bool = False) -> list[LogEntry]:
    """Return the events in words, with their reviews and requesters, in two queries more.

    Long data is cut unless `whole` is set.
    """
    reviews = Review.objects.in_bulk([event.seq for event in events if needs_review(event)])
    outcomes = [event for event in events if event.kind == EventKind.FINISHED]
    by_request = requesters.of_requests(event.request_id for event in outcomes)
    log_entries = []
    for event in events:
        data, facts = event_reader.laid_out(event), event_reader.read(event)
        is_cut = not whole and len(data) > MAX_DATA_CHARS
        log_entries.append(
            LogEntry(
                event=event,
                review=reviews.get(event.seq),
                requester=by_request.get(event.request_id) or requesters.of_outcome(facts)
                if event.kind == EventKind.FINISHED
                else None,
                open_after=facts.number("open_after"),
                description=describe(event),
                data=data[:MAX_DATA_CHARS] if is_cut else data,
                is_cut=is_cut,
            )
        )
    return log_entries


def of_request(request_id: str) -> list[LogEntry]:
    """Return all events of a request, oldest first."""
    return entries(list(AuditEvent.objects.filter(request_id=request_id).order_by("seq")))


def suggested_review(log_entries: Sequence[LogEntry]) -> SuggestedReview | None:
    """Suggest to review unreviewed events first, then those with open queries, then the rest."""
    seqs_by_state: dict[str, list[int]] = {}
    for entry in log_entries:
        if entry.needs_review:
            state = entry.review.state if entry.review else ""
            seqs_by_state.setdefault(state, []).append(entry.event.seq)
    for state in ("", *OPEN_QUERY, EventKind.REVIEWED, EventKind.CLOSED):
        if seqs := seqs_by_state.get(state):
            return SuggestedReview(seqs=seqs, marks=list(FOLLOWING[state]))
    return None


def _count_text(
    selection: EventFilter,
    shown: int,
    *,
    edge: AuditEvent | None,
    part: range | None,
    is_full: bool,
) -> str:
    """Return how many events are shown, and of how many, as far as they were searched."""
    if selection.search.part() is None:  # everything can be counted
        is_only_page = edge is None and not is_full
        return pluralize_count(shown, "event") if is_only_page else f"{shown} of {tally(selection)}"
    if edge:
        return f"{pluralize_count(shown, 'event')} on this page"
    if not is_full:
        return f"{pluralize_count(shown, 'event')} so far" if shown else "no events so far"
    count = selection.search.count(limit=MAX_COUNTED + 1, part=part)
    return f"{shown} of {min(count, MAX_COUNTED):,}+ events"


def tally(selection: EventFilter, *, max_counted: int = MAX_COUNTED) -> str:
    """Return how many events are selected, as far as that can be counted quickly."""
    # All events are numbered without gaps.
    everything = chain.head().seq if selection.is_everything else None
    count = selection.search.count(limit=max_counted + 1) if everything is None else everything
    return f"{max_counted:,}+ events" if count > max_counted else pluralize_count(count, "event")


def _size(query: QueryDict) -> int:
    """Return the number of events on a page. Raises `InvalidFilter`."""
    text = query.get("size", "")
    try:
        return parse_page_size(text) if text else PAGE_SIZES[0]
    except ValueError as error:
        raise InvalidFilter({"size": f"Per page: {error}"}) from None


def _edge(query: QueryDict, name: str) -> AuditEvent | None:
    """Return the event that a page begins after."""
    text = query.get(name, "")
    seq = parse_id(text)
    event = AuditEvent.objects.filter(seq=seq).only("seq", "at").first() if seq else None
    if text and event is None:
        raise InvalidFilter({name: f"{name}: There is no event {quoted(text)}."})
    return event
