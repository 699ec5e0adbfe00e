"""What became of the requests of each day, and how long it took: read from the log alone.

A request counts on the day on which it was asked. Times are those between the log's own events:
asked, first attempt recorded, outcome recorded.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Self

from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, Kind

DAYS: Final = 30  # shown when nothing is chosen
MAX_DAYS: Final = 366
MAX_EVENTS: Final = 100_000  # read for one page
# What is still open a day after the end of the range is shown as open.
AFTERWARDS: Final = timedelta(days=1)
ENDS: Final = frozenset({Kind.ATTEMPT, Kind.FINISHED})
# Best first, which is also the order from the bottom of a bar to its top.
STATUSES: Final = (
    "CONFIRMED",
    "RESIDUAL",
    "UNVERIFIED",
    "REJECTED",
    "NOT_DELIVERED",
    "UNKNOWN",
    "OPEN",
)
OPEN: Final = "OPEN"  # no outcome in the log yet


class RangeRefused(Exception):
    """This range is not shown: a sentence that says why."""


@dataclass(frozen=True, kw_only=True)
class DateRange:
    """Whole days in UTC, both included."""

    first: date
    last: date

    @classmethod
    def of(cls, selection: EventFilter, *, today: date) -> Self:
        """The days of a selection's range of time; the last month when there is none."""
        end = selection.to_at - timedelta(microseconds=1) if selection.to_at else None
        last = min(end.date(), today) if end else today  # nothing was asked in the future
        first = selection.from_at.date() if selection.from_at else _days_before(last, DAYS - 1)
        if first > last:
            raise RangeRefused("from: lies after the last day that can be shown.")
        if (last - first).days >= MAX_DAYS:
            raise RangeRefused(
                f"At most {MAX_DAYS} days are shown at once: choose a shorter range."
            )
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
    """The middle one and the longest of some durations, in milliseconds; None without any."""

    median: float | None
    longest: float | None

    @classmethod
    def of(cls, durations: Sequence[float]) -> Self:
        if not durations:
            return cls(median=None, longest=None)
        return cls(median=statistics.median(durations), longest=max(durations))


@dataclass(frozen=True, kw_only=True)
class Day:
    """The requests of one day."""

    day: date
    counts: Counter[str]
    answer: Times
    outcome: Times

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def cells(self) -> list[int]:
        """How many of each status, in the order of `STATUSES`."""
        return [self.counts[status] for status in STATUSES]


@dataclass(kw_only=True)
class RequestTimes:
    """What the events say of one request; only the first attempt and the last word count."""

    asked_at: datetime
    answered_at: datetime | None = None
    finished_at: datetime | None = None
    status: str = OPEN

    @property
    def answer(self) -> float | None:
        return _milliseconds(self.asked_at, self.answered_at)

    @property
    def outcome(self) -> float | None:
        return _milliseconds(self.asked_at, self.finished_at)


def by_day(chosen: DateRange) -> list[Day]:
    """Every day of the range, also those on which nothing was asked. Raises `Refused`."""
    days: dict[date, list[RequestTimes]] = {day: [] for day in chosen.days}
    for request in _requests(chosen):
        days[request.asked_at.date()].append(request)
    return [_day(day, requests) for day, requests in days.items()]


def whole(days: Iterable[Day]) -> Counter[str]:
    """The counts of all days together."""
    return sum((day.counts for day in days), Counter())


def _requests(chosen: DateRange) -> Iterator[RequestTimes]:
    # Not filtered by kind: with one more condition SQLite leaves the index of the times.
    within = AuditEvent.objects.filter(at__gte=chosen.begin, at__lt=chosen.end + AFTERWARDS)
    events = within.order_by("at", "seq")
    rows = list(events.values_list("kind", "request_id", "status", "at")[: MAX_EVENTS + 1])
    if len(rows) > MAX_EVENTS:
        raise RangeRefused("There are too many events in this range: choose a shorter one.")
    found: dict[str, RequestTimes] = {}
    for kind, request_id, status, at in rows:
        if kind == Kind.REQUESTED and at < chosen.end:
            found.setdefault(request_id, RequestTimes(asked_at=at))
        elif kind in ENDS and (request := found.get(request_id)):
            _add(request, kind=kind, status=status, at=at)
    return iter(found.values())


def _add(request: RequestTimes, *, kind: str, status: str, at: datetime) -> None:
    if kind == Kind.FINISHED:
        request.status = status if status in STATUSES else "UNKNOWN"
        request.finished_at = at
    elif request.answered_at is None:
        request.answered_at = at


def _day(day: date, requests: Sequence[RequestTimes]) -> Day:
    return Day(
        day=day,
        counts=Counter(request.status for request in requests),
        answer=Times.of([each for request in requests if (each := request.answer) is not None]),
        outcome=Times.of([each for request in requests if (each := request.outcome) is not None]),
    )


def _milliseconds(start: datetime, end: datetime | None) -> float | None:
    """A clock that was put back in between gives no duration."""
    if end is None or end < start:
        return None
    return (end - start).total_seconds() * 1000


def _days_before(day: date, count: int) -> date:
    try:
        return day - timedelta(days=count)
    except OverflowError:
        return date.min
