"""Retry-After: seconds, dates, and nonsense."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.ems.retry_after import parse_retry_after


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("120", 120.0), (" 3 ", 3.0), ("1.5", 1.5)]
)
def test_seconds_are_seconds(value: str, seconds: float) -> None:
    assert parse_retry_after({"RETRY-AFTER": value}) == seconds


def test_a_date_is_the_time_until_then() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    seconds = parse_retry_after({"Retry-After": date})
    assert seconds is not None
    assert 57 < seconds <= 60


@pytest.mark.parametrize(
    "value",
    ["", "-1", "soon", "1e9", "NaN", "inf", "٣", "0x10", "1, 2", "9" * 500, "Wed, 99 Foo 2020"],
)
def test_nonsense_is_ignored(value: str) -> None:
    assert parse_retry_after({"Retry-After": value}) is None


def test_a_date_that_has_passed_is_ignored() -> None:
    assert parse_retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) is None


@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\w+"))
def test_no_value_raises(value: str) -> None:
    seconds = parse_retry_after({"Retry-After": value})
    assert seconds is None or 0 <= seconds < float("inf")
