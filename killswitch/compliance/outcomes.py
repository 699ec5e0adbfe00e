"""The outcomes of the requests of each day, and their durations, read from the log alone.

A request counts on the day of the click, as in the list of requests, although its event may be
recorded after midnight; those of Holds are counted apart. Durations are
those between the log's own events: requested, first attempt recorded, outcome recorded. Requests by
break glass have none, because their events were recorded together, afterwards.
"""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Self

from django.db.models import Case, Q, TextField, Value, When
from django.db.models.functions import Cast, StrIndex, Substr

from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.needing_review import OF_HOLD
from killswitch.cancels.models import Origin
from killswitch.compliance.event_outcomes import (
    NEVER_LISTED,
    NOT_CONFIRMED,
    OPEN,
    OUTCOME_DATA,
    OUTCOMES,
    REOPENED,
    REQUEST_OUTCOMES,
    has_text,
    is_reopening,
    outcome_at_end,
)
from killswitch.runtime.age import elapsed_ms
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.lookups import compared

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 366
MAX_EVENTS: Final = 100_000
# How long after the end of the range outcomes are still looked for.
OUTCOME_WAIT: Final = timedelta(days=1)
MAX_ROWS: Final = 100  # of a breakdown
COUNTED_KINDS: Final = (
    EventKind.REQUESTED,
    EventKind.ATTEMPT,
    EventKind.FINISHED,
    EventKind.ALARM_RAISED,
)
# The time of the click in the canonical text of a request's data, where no value contains this key
# because its quotes would be escaped.
ASKED_AT_KEY: Final = '"asked_at":'
ASKED_AT: Final = re.compile(rf'{ASKED_AT_KEY}"([^"\\]+)"')
ASKED_AT_CHARS: Final = 80
# Columns as they are read: of the data only what is needed, for no more events than needed (a
# condition with `&` is evaluated from left to right), and times as text, which Django would parse
# at ten times the cost. They are in UTC, SQLite's without an offset.
_AT_AS_TEXT: Final = Cast("at", TextField())
_ORIGIN: Final = Case(
    When(Q(kind=EventKind.REQUESTED) & has_text(OF_HOLD), then=Value(Origin.HOLD)),
    When(
        Q(kind=EventKind.REQUESTED) & has_text('"origin":"BREAK_GLASS"'),
        then=Value(Origin.BREAK_GLASS),
    ),
    default=Value(""),
    output_field=TextField(),
)
_ASKED_AT_OR_DATA: Final = Case(
    When(
        kind=EventKind.REQUESTED,
        then=Substr("data", StrIndex("data", Value(ASKED_AT_KEY)), ASKED_AT_CHARS),
    ),
    default=OUTCOME_DATA,
    output_field=TextField(),
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, with the outcome that it counts."""

    outcome: str  # as the list of requests names it
    count: int


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The outcomes of people's requests for one exchange or one person."""

    name: str
    counts: Counter[str]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def not_confirmed(self) -> int:
        return not_confirmed(self.counts)

    @property
    def cells(self) -> list[Cell]:
        return cells_of(self.counts)


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The requests of a range of days: by day, and people's by exchange and by person."""

    days: "Sequence[Day]"
    by_exchange: Sequence[Breakdown]
    by_person: Sequence[Breakdown]


@dataclass(frozen=True, kw_only=True)
class DateRange:
    """Whole days in UTC, both included."""

    first: date
    last: date

    @classmethod
    def of(cls, selection: EventFilter, *, today: date) -> Self:
        """Return the days of a filter's time range, by default the last month.

        Raises `InvalidFilter`.
        """
        end = selection.to_at - timedelta(microseconds=1) if selection.to_at else None
        last = min(end.date(), today) if end else today
        default = date.fromordinal(max(last.toordinal() - DEFAULT_DAYS + 1, date.min.toordinal()))
        first = selection.from_at.date() if selection.from_at else default
        if first > last:
            reason = "First day must not be after the last day or after today."
            raise InvalidFilter({"range": reason})
        if (last - first).days >= MAX_DAYS:
            reason = f"At most {MAX_DAYS} days can be shown at once. Choose a shorter range."
            raise InvalidFilter({"range": reason})
        return cls(first=first, last=last)

    @property
    def days(self) -> list[date]:
        count = (self.last - self.first).days + 1
        return [self.first + timedelta(days=number) for number in range(count)]

    @property
    def begin(self) -> datetime:
        return datetime(self.first.year, self.first.month, self.first.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        return self.begin + timedelta(days=len(self.days))


@dataclass(frozen=True, kw_only=True)
class Times:
    """The median and the maximum of durations in milliseconds; None without any."""

    median: float | None
    maximum: float | None

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self:
        return cls(
            median=statistics.median(durations) if durations else None,
            maximum=max(durations, default=None),
        )


@dataclass(frozen=True, kw_only=True)
class Day:
    """The requests of one day."""

    day: date
    counts: Counter[str]  # of people's requests
    answer: Times
    outcome: Times
    hold_counts: Counter[str] = field(default_factory=Counter)  # of the requests of Holds

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def not_confirmed(self) -> int:
        return not_confirmed(self.counts)

    @property
    def cells(self) -> list[Cell]:
        """Return the numbers of people's requests."""
        return cells_of(self.counts)

    @property
    def hold_total(self) -> int:
        return self.hold_counts.total()

    @property
    def hold_cells(self) -> list[Cell]:
        """Return the numbers of the requests of Holds."""
        return cells_of(self.hold_counts)


@dataclass(kw_only=True)
class RequestTimes:
    """The times of one request; of several attempts, the first one counts."""

    requested_at: datetime  # when it was recorded; all times in UTC, with or without an offset
    day: date
    exchange_id: str = ""
    person: str = ""
    is_of_hold: bool = False
    is_by_break_glass: bool = False
    answered_at: datetime | None = None
    finished_at: datetime | None = None
    status: str = OPEN


def of_range(date_range: DateRange, *, max_events: int = MAX_EVENTS) -> Outcomes:
    """Return every day of the range, also those without requests. Raises `InvalidFilter`."""
    days: dict[date, list[RequestTimes]] = {day: [] for day in date_range.days}
    requests = list(_requests(date_range, max_events=max_events))
    for request in requests:
        days[request.day].append(request)
    by_people = [request for request in requests if not request.is_of_hold]
    return Outcomes(
        days=[_day(day, of_day) for day, of_day in days.items()],
        by_exchange=_breakdown((request.exchange_id, request.status) for request in by_people),
        by_person=_breakdown((request.person, request.status) for request in by_people),
    )


def cells_of(counts: Counter[str]) -> list[Cell]:
    """Return the numbers in the order of `OUTCOMES`, and how many were not confirmed."""
    cells = [Cell(outcome=REQUEST_OUTCOMES[status], count=counts[status]) for status in OUTCOMES]
    return [*cells, Cell(outcome="not_confirmed", count=not_confirmed(counts))]


def not_confirmed(counts: Counter[str]) -> int:
    """Return how many of these requests the other pages call not confirmed."""
    return sum(counts[outcome] for outcome in NOT_CONFIRMED)


def _breakdown(pairs: Iterable[tuple[str, str]]) -> list[Breakdown]:
    """Return the outcomes by name, those with most failures first."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, status in pairs:
        counts[name][status] += 1
    rows = [Breakdown(name=name, counts=by_status) for name, by_status in counts.items()]
    return sorted(rows, key=lambda row: (-row.not_confirmed, -row.total, row.name))[:MAX_ROWS]


def _day(day: date, requests: Sequence[RequestTimes]) -> Day:
    """Return the figures of one day. A Hold cancels often and small: people's are theirs alone."""
    by_people = [request for request in requests if not request.is_of_hold]
    timed = [request for request in by_people if not request.is_by_break_glass]
    return Day(
        day=day,
        counts=Counter(request.status for request in by_people),
        answer=_times((request.requested_at, request.answered_at) for request in timed),
        outcome=_times((request.requested_at, request.finished_at) for request in timed),
        hold_counts=Counter(request.status for request in requests if request.is_of_hold),
    )


def _requests(date_range: DateRange, *, max_events: int) -> Iterable[RequestTimes]:
    events = AuditEvent.objects.filter(
        at__gte=date_range.begin, at__lt=date_range.end + OUTCOME_WAIT
    )
    if events.order_by()[: max_events + 1].count() > max_events:
        reason = "There are too many events in this range. Choose a shorter one."
        raise InvalidFilter({"range": reason})
    # The kinds are only compared: by their index, every event of them would be read.
    counted = events.filter(compared(Q(kind__in=COUNTED_KINDS))).order_by("at", "seq")
    columns = ("seq", "kind", "request_id", "status", "exchange_id", "actor")
    rows = list(counted.values_list(*columns, _AT_AS_TEXT, _ORIGIN, _ASKED_AT_OR_DATA))
    requests: dict[str, RequestTimes] = {}
    # In the order of the chain: after a clock was set back, an outcome has an earlier time.
    rows.sort()
    for _, kind, request_id, status, exchange_id, actor, at, origin, data in rows:
        if kind == EventKind.REQUESTED:
            if request_id not in requests:
                requests[request_id] = RequestTimes(
                    requested_at=datetime.fromisoformat(at),
                    day=_day_of_click(data, recorded_at=datetime.fromisoformat(at)),
                    exchange_id=exchange_id,
                    person=actor,
                    is_of_hold=origin == Origin.HOLD,
                    is_by_break_glass=origin == Origin.BREAK_GLASS,
                )
        elif not (request := requests.get(request_id)):
            continue
        elif kind == EventKind.FINISHED:
            request.status = outcome_at_end(status=status, data=data)
            request.finished_at = datetime.fromisoformat(at)
        elif kind == EventKind.ATTEMPT:
            if request.answered_at is None:
                request.answered_at = datetime.fromisoformat(at)
        elif is_reopening(kind=kind, data=data) and request.status in {"CONFIRMED", NEVER_LISTED}:
            request.status = REOPENED
    return [
        request
        for request in requests.values()
        if date_range.first <= request.day <= date_range.last
    ]


def _day_of_click(data: str, *, recorded_at: datetime) -> date:
    """Return the day (UTC) of the click; events of earlier versions do not have its time."""
    match = ASKED_AT.match(data)
    try:
        return (
            datetime.fromisoformat(match[1]).astimezone(UTC).date() if match else recorded_at.date()
        )
    except (ValueError, OverflowError):
        return recorded_at.date()


def _times(spans: Iterable[tuple[datetime, datetime | None]]) -> Times:
    durations = (elapsed_ms(start=start, end=end) for start, end in spans)
    return Times.of([duration for duration in durations if duration is not None])
