"""Days are whole and in UTC, as a text, as a range of times and in words."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from killswitch.runtime.days import (
    LAST_MOMENT,
    Period,
    begin_of,
    day_texts,
    end_of,
    parse_day,
    range_of,
    range_text,
)


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-02-30", "20261128", "2026-W48-6", "28.11.2026", "٢٠٢٦-11-28", ""]
)
def test_a_day_has_one_notation(text: str) -> None:
    assert parse_day("2026-11-28") == date(2026, 11, 28)
    with pytest.raises(ValueError, match=f"“{text}” is not a day. Write it as 2026-11-28."):
        parse_day(text)


@pytest.mark.parametrize(
    ("period", "first", "last"),
    [
        (Period.TODAY, "2026-03-01", "2026-03-01"),
        (Period.YESTERDAY, "2026-02-28", "2026-02-28"),
        (Period.WEEK, "2026-02-23", "2026-03-01"),
        (Period.MONTH, "2026-03-01", "2026-03-01"),
    ],
)
def test_a_period_is_of_whole_days_up_to_today(period: Period, first: str, last: str) -> None:
    start, end = range_of(period, today=date(2026, 3, 1))
    assert day_texts(start, end) == {"from": first, "to": last}
    assert (start, end) == (begin_of(parse_day(first)), end_of(parse_day(last)))


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ((2026, 11, 22), (2026, 11, 28), "22 to 28 Nov 2026 (UTC)"),
        ((2026, 10, 30), (2026, 11, 5), "30 Oct 2026 to 5 Nov 2026 (UTC)"),
        ((2025, 11, 5), (2026, 11, 5), "5 Nov 2025 to 5 Nov 2026 (UTC)"),
        ((2026, 11, 5), (2026, 11, 5), "5 Nov 2026 (UTC)"),
        ((2026, 11, 5), None, "from 5 Nov 2026 (UTC)"),
        (None, (2026, 11, 5), "up to and including 5 Nov 2026 (UTC)"),
        ((1, 1, 1), (9999, 12, 31), "1 Jan 1 to 31 Dec 9999 (UTC)"),
        (None, None, ""),
    ],
)
def test_a_range_of_days_in_words(first: Any, last: Any, words: str) -> None:
    start = begin_of(date(*first)) if first else None
    end = end_of(date(*last)) if last else None
    assert range_text(start, end) == words
    days = {"from": first and str(date(*first)), "to": last and str(date(*last))}
    assert day_texts(start, end) == {name: day for name, day in days.items() if day}


def test_moments_within_a_day_are_no_days() -> None:
    at = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
    assert range_text(at, None) == "from 20 Nov 2026, 08:30:00 UTC"
    assert range_text(at, end_of(at.date())) == (
        "from 20 Nov 2026, 08:30:00 UTC, up to and including 20 Nov 2026 (UTC)"
    )
    assert range_text(begin_of(at.date()), at) == "from 20 Nov 2026 (UTC), before" + (
        " 20 Nov 2026, 08:30:00 UTC"
    )
    assert day_texts(at, at) == {}
    assert end_of(date.max) == LAST_MOMENT
