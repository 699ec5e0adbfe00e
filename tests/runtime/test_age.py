"""A time is fresh only when that is certain."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from killswitch.runtime.age import MAX_CLOCK_SKEW_S, age, elapsed_ms

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def test_what_never_happened_is_not_fresh() -> None:
    never = age(at=None, now=NOW)
    assert not never.within(1e9)
    assert never.phrase("last seen", never="not seen yet") == "not seen yet"


def test_what_lies_in_the_future_is_not_fresh() -> None:
    future = age(at=NOW + timedelta(hours=1), now=NOW)
    assert future.jumped
    assert future.seconds is None
    assert not future.within(1e9)
    assert "check the clocks" in future.phrase("last seen", never="not seen yet")


def test_two_clocks_that_differ_a_little_are_no_jump() -> None:
    nearly = age(at=NOW + timedelta(seconds=MAX_CLOCK_SKEW_S / 2), now=NOW)
    assert nearly.seconds == 0
    assert nearly.within(0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (7.6, "8 s"), (119.4, "119 s"), (120, "2 min"), (10_000, "2 h 47 min")],
)
def test_an_age_is_a_phrase_in_seconds_or_for_long_ones_in_minutes(
    seconds: float, text: str
) -> None:
    phrase = age(at=NOW - timedelta(seconds=seconds), now=NOW).phrase("read", never="")
    assert phrase == f"read {text} ago"


@given(st.floats(min_value=-1e6, max_value=1e6), st.floats(min_value=0, max_value=1e6))
def test_fresh_means_between_now_and_the_limit(seconds: float, limit: float) -> None:
    found = age(at=NOW - timedelta(seconds=seconds), now=NOW)
    assert found.seconds is None or found.seconds >= 0
    if found.within(limit):
        assert -MAX_CLOCK_SKEW_S <= round(seconds, 5) <= limit + 1e-5


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_a_duration_is_never_negative(start: datetime, end: datetime) -> None:
    elapsed = elapsed_ms(start=start, end=end)
    assert (elapsed is None) == (end < start)
    assert elapsed is None or elapsed >= 0


def test_a_duration_needs_both_ends() -> None:
    assert elapsed_ms(start=None, end=NOW) is None
    assert elapsed_ms(start=NOW, end=None) is None
    assert elapsed_ms(start=NOW, end=NOW + timedelta(milliseconds=212)) == 212
