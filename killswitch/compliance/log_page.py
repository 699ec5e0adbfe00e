"""The log as compliance reads it: newest first, page by page, each event in words.

A page is identified by the event at its edge, so that it stays the same while new events arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.db import connection
from django.http import QueryDict

from killswitch.audit import chain, event_reader
from killswitch.audit.descriptions import describe
from killswitch.audit.filters import FIELDS, EventFilter, InvalidFilter
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.review import FOLLOWING, needs_review
from killswitch.runtime.http import parse_id
from killswitch.runtime.text import pluralize_count, truncate

PAGE_SIZE: Final = 50
MAX_COUNTED: Final = 10_000
MAX_DATA_CHARS: Final = 4000  # on a page of many events
MAX_SUGGESTIONS: Final = 200  # of one column
SUGGESTED_COLUMNS: Final = ("actor", "exchange_id", "reject_reason", "status")
TABLE: Final = AuditEvent._meta.db_table


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One event in words, with the state of its review."""

    event: AuditEvent
    review: Review | None
    open_after: int | None
    description: str
    data: str
    is_cut: bool

    @property
    def needs_review(self) -> bool:
        return needs_review(self.event)


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """Some events, newest first, and the events at which the next pages begin."""

    entries: Sequence[LogEntry]
    newer: int | None
    older: int | None
    count: str

    @classmethod
    def of(cls, selection: EventFilter, *, query: QueryDict) -> Self:
        """Return the page that a query string names. Raises `InvalidFilter`."""
        before, after = (_edge(query, name) for name in ("before", "after"))
        if after and not before:
            rows = list(selection.beyond(after, newest_first=False)[: PAGE_SIZE + 1])
            has_newer, has_older = len(rows) > PAGE_SIZE, True
            events = rows[:PAGE_SIZE][::-1]
        else:
            rows = list(selection.beyond(before)[: PAGE_SIZE + 1])
            has_newer, has_older = before is not None, len(rows) > PAGE_SIZE
            events = rows[:PAGE_SIZE]
        is_only_page = not before and not after and not has_older
        return cls(
            entries=entries(events),
            newer=events[0].seq if events and has_newer else None,
            older=events[-1].seq if events and has_older else None,
            count=pluralize_count(len(events), "event") if is_only_page else tally(selection),
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
    """Return the events in words, with their reviews, in one query more.

    Long data is cut unless `whole` is set.
    """
    reviews = Review.objects.in_bulk([event.seq for event in events if needs_review(event)])
    log_entries = []
    for event in events:
        data = event_reader.laid_out(event)
        is_cut = not whole and len(data) > MAX_DATA_CHARS
        log_entries.append(
            LogEntry(
                event=event,
                review=reviews.get(event.seq),
                open_after=event_reader.read(event).number("open_after"),
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
    for state in ("", EventKind.QUERIED, EventKind.REVIEWED, EventKind.CLOSED):
        if seqs := seqs_by_state.get(state):
            return SuggestedReview(seqs=seqs, marks=list(FOLLOWING[state]))
    return None


def tally(selection: EventFilter, *, max_counted: int = MAX_COUNTED) -> str:
    """Return how many events are selected, as far as that can be counted quickly."""
    if selection.is_everything:
        count = chain.head().seq  # numbered without gaps
    else:
        count = selection.events().order_by()[: max_counted + 1].count()
    return f"{max_counted:,}+ events" if count > max_counted else pluralize_count(count, "event")


def form_values(query: Mapping[str, str]) -> dict[str, str]:
    """Return what a form shows again as it was typed."""
    return {name: query[name] for name in FIELDS if query.get(name)}


def suggestions() -> dict[str, list[str]]:
    """Return the values of each of these columns, for the filter, without unprintable ones.

    Each value is looked up in the column's index from the one before. So the cost grows with the
    number of values, not of events.
    """
    values = {}
    with connection.cursor() as cursor:
        for column in SUGGESTED_COLUMNS:
            cursor.execute(
                f"WITH RECURSIVE suggestion(value) AS ("  # noqa: S608 - the names are constants
                f"SELECT min({column}) FROM {TABLE}"
                f" UNION ALL"
                f" SELECT (SELECT min({column}) FROM {TABLE} WHERE {column} > suggestion.value)"
                f" FROM suggestion WHERE suggestion.value IS NOT NULL)"
                f" SELECT value FROM suggestion WHERE value <> '' LIMIT {MAX_SUGGESTIONS}"
            )
            values[column] = [value for (value,) in cursor.fetchall() if value.isprintable()]
    return values


def _edge(query: QueryDict, name: str) -> AuditEvent | None:
    """Return the event that a page begins after."""
    text = query.get(name, "")
    seq = parse_id(text)
    event = AuditEvent.objects.filter(seq=seq).only("seq", "at").first() if seq else None
    if text and event is None:
        raise InvalidFilter({name: f"{name}: there is no event “{truncate(text, 60)}”."})
    return event
