"""Days in UTC for filters: read from text, turned into times, and described; the usual periods."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import Q

from killswitch.runtime.text import quoted

LAST_MOMENT: Final = datetime.max.replace(tzinfo=UTC)
EMPTY_RANGE: Final = "The range is empty. Choose an earlier start or a later end."


class Period(StrEnum):
    """A range of days, relative to today."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "week"
    MONTH = "month"


PERIOD_LABELS: Final[Mapping[Period, str]] = {
    Period.TODAY: "Today",
    Period.YESTERDAY: "Yesterday",
    Period.WEEK: "Last 7 days",
    Period.MONTH: "This month",
}


def parse_day(text: str) -> date:
    """Return a day such as 2026-11-28. Raises `ValueError`."""
    if not is_day(text):
        raise ValueError(f"{quoted(text)} is not a day. Write it as 2026-11-28.")
    return date.fromisoformat(text)


def begin_of(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """Return the moment before which the day ends."""
    return LAST_MOMENT if day == date.max else begin_of(day + timedelta(days=1))


def input_type(text: str, *, kind: str) -> str:
    """Return the type of the input that shows this text in a field of this kind.

    An input for a day shows a text that is not one, such as a mistyped day or a time, as empty.
    """
    return "text" if kind == "date" and text and not is_day(text) else kind


def is_day(text: str) -> bool:
    """Return whether a text is a day as an input for days has it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def range_of(period: Period, *, today: date) -> tuple[datetime, datetime]:
    """Return when a period begins and ends."""
    match period:
        case Period.TODAY:
            return begin_of(today), end_of(today)
        case Period.YESTERDAY:
            return begin_of(today - timedelta(days=1)), begin_of(today)
        case Period.WEEK:
            return begin_of(today - timedelta(days=6)), end_of(today)
        case Period.MONTH:
            return begin_of(today.replace(day=1)), end_of(today)


def day_texts(start: datetime | None, end: datetime | None) -> dict[str, str]:
    """Return the first day as "from" and the last as "to", unless they are not whole."""
    first, last = _days(start, end)
    return {name: str(day) for name, day in (("from", first), ("to", last)) if day}


def within(column: str, *, start: datetime | None, end: datetime | None) -> Q:
    """Return the condition that a column is in this range, whose end is not included."""
    condition = Q(**{f"{column}__gte": start}) if start else Q()
    return condition & Q(**{f"{column}__lt": end}) if end else condition


def range_text(start: datetime | None, end: datetime | None) -> str:
    """Return e.g. "20 to 27 Nov 2026 (UTC)"; empty without a range. The end is not included."""
    first, last = _days(start, end)
    if first and last:
        is_same_month = (first.year, first.month) == (last.year, last.month)
        begin = f"{first.day if is_same_month else _day(first)} to "
        return f"{'' if first == last else begin}{_day(last)} (UTC)"
    parts = [f"from {_moment(start)}"] if start else []
    if last:
        parts.append(f"up to and including {_day(last)} (UTC)")
    elif end:
        parts.append(f"before {_moment(end)}")
    return ", ".join(parts)


def _days(start: datetime | None, end: datetime | None) -> tuple[date | None, date | None]:
    """Return the first and the last day; None for a moment within a day."""
    is_whole = end and (end.time() == time.min or end == LAST_MOMENT)
    return (
        start.date() if start and start.time() == time.min else None,
        (end - datetime.resolution).date() if end and is_whole else None,
    )


def _day(day: date) -> str:
    return f"{day.day} {day:%b} {day.year}"


def _moment(at: datetime) -> str:
    words = _day(at.date())
    return f"{words} (UTC)" if at.time() == time.min else f"{words}, {at.time().isoformat()} UTC"
