"""When a request may be sent again, by a clock that the test moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from killswitch.cancels.pacing import (
    EARLY_POST_S,
    FIRST_READ_PAUSE_S,
    MAX_PAUSE_S,
    MAX_READ_PAUSE_S,
    MIN_POST_S,
    RetrySchedule,
    rest_of_pause,
)
from killswitch.cancels.watchdog import STALLED_AFTER_S
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from tests.clock import Clock


@pytest.fixture
def schedule(clock: Clock, settings: Any) -> RetrySchedule:
    settings.EMS_TIMEOUT = 10.0
    settings.CANCEL_DEADLINE = 60.0
    return RetrySchedule(ends_at=clock.now + 60, clock=clock)


def answer(
    outcome: Outcome,
    retry_advice: RetryAdvice = RetryAdvice.AFTER_PAUSE,
    retry_after: float | None = None,
) -> TimedCancelAnswer:
    now = datetime.now(UTC)
    return TimedCancelAnswer(
        outcome=outcome,
        retry_advice=retry_advice,
        retry_after=retry_after,
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )


def test_pauses_double_and_stay_shorter_than_the_time_of_an_alarm(schedule: RetrySchedule) -> None:
    pauses = []
    for _ in range(8):
        schedule.record_answer(answer(Outcome.NOT_DELIVERED))
        pauses.append(schedule.until_next_post)
    assert 0.4 <= pauses[0] <= 0.5
    assert 0.8 <= pauses[1] <= 1.0
    assert max(pauses) <= MAX_PAUSE_S < STALLED_AFTER_S
    assert MAX_READ_PAUSE_S < STALLED_AFTER_S


def test_an_acknowledged_cancel_gets_time_to_settle(schedule: RetrySchedule) -> None:
    schedule.record_answer(answer(Outcome.ACKNOWLEDGED))
    assert schedule.until_next_post >= 1.6
    assert schedule.may_post_again
    assert not schedule.may_post_now


def test_retry_after_is_honoured_and_capped_by_the_time_of_the_request(
    schedule: RetrySchedule, clock: Clock
) -> None:
    schedule.record_answer(answer(Outcome.REJECTED, retry_after=30.0))
    assert schedule.until_next_post == pytest.approx(30.0)
    assert schedule.may_post_again
    clock.now += 10
    schedule.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    assert schedule.until_next_post <= EARLY_POST_S, "the kill must not fall silent"
    clock.now += schedule.until_next_post
    assert schedule.may_post_now
    schedule.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    assert schedule.may_post_again, "time for one last POST is left"
    clock.now += schedule.until_next_post
    assert schedule.may_post_now
    schedule.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    assert not schedule.may_post_again


@pytest.mark.parametrize(
    ("advice", "posts"), [(RetryAdvice.A_FEW_TIMES, 5), (RetryAdvice.ONCE_MORE, 2)]
)
def test_a_refusal_of_the_request_is_repeated_a_few_times(
    schedule: RetrySchedule, clock: Clock, advice: RetryAdvice, posts: int
) -> None:
    for number in range(1, posts + 1):
        assert not schedule.is_refused_for_good
        schedule.record_answer(answer(Outcome.REJECTED, advice))
        assert schedule.may_post_again == (number < posts)
        clock.now += schedule.until_next_post


def test_refusals_that_an_earlier_holder_received_count(schedule: RetrySchedule) -> None:
    for _ in range(4):
        schedule.count_answer(answer(Outcome.REJECTED, RetryAdvice.A_FEW_TIMES))
        schedule.count_answer(answer(Outcome.REJECTED, RetryAdvice.AFTER_PAUSE))
    assert schedule.may_post_again
    schedule.record_answer(answer(Outcome.REJECTED, RetryAdvice.A_FEW_TIMES))
    assert not schedule.may_post_again


def test_an_accepted_cancel_ends_the_count_of_refusals(schedule: RetrySchedule) -> None:
    for outcome in (Outcome.REJECTED, Outcome.ACKNOWLEDGED) * 4:
        schedule.record_answer(answer(outcome, RetryAdvice.A_FEW_TIMES))
    assert not schedule.is_refused_for_good


def test_no_number_of_posts_is_too_large(clock: Clock) -> None:
    schedule = RetrySchedule(ends_at=clock.now + 1e6, clock=clock)
    for _ in range(2000):
        schedule.record_answer(answer(Outcome.UNKNOWN))
    assert schedule.until_next_post <= MAX_PAUSE_S


def test_other_refusals_are_repeated_while_time_is_left(
    schedule: RetrySchedule, clock: Clock
) -> None:
    posts = 0
    while schedule.may_post_again:
        schedule.record_answer(answer(Outcome.REJECTED))
        clock.now += schedule.until_next_post
        posts += 1
    assert posts > 10
    assert schedule.seconds_left < 11


def test_the_last_seconds_are_reserved_for_reading(schedule: RetrySchedule, clock: Clock) -> None:
    schedule.record_answer(answer(Outcome.UNKNOWN))
    clock.now += 45
    assert schedule.may_post_now
    assert schedule.post_timeout == pytest.approx(5.0)
    clock.now += 5.1
    assert not schedule.may_post_again


def test_a_late_request_still_has_the_whole_time_for_one_post_and_one_read(
    schedule: RetrySchedule, clock: Clock
) -> None:
    clock.now += 3600
    assert schedule.post_timeout == 10.0
    assert schedule.read_timeout(owed=True) == 10.0
    assert schedule.read_timeout(owed=False) == 1.0


@pytest.mark.parametrize(
    ("passed", "left"),
    [(0, 15.0), (6, 9.0), (15, 0.0), (3600, 0.0), (-3600, 15.0)],
    ids=["at once", "later", "just over", "long over or a clock that jumped", "a clock set back"],
)
def test_another_process_waits_for_the_rest_of_a_pause(passed: int, left: float) -> None:
    answered_at = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert (
        rest_of_pause(
            planned_at=answered_at + timedelta(seconds=15),
            answered_at=answered_at,
            now=answered_at + timedelta(seconds=passed),
        )
        == left
    )


def test_an_inherited_pause_leaves_time_for_a_last_post(
    schedule: RetrySchedule, clock: Clock
) -> None:
    schedule.inherit_pause(3600.0)
    assert schedule.waits_for_retry_after
    clock.now += schedule.until_next_post
    assert schedule.may_post_now
    assert schedule.seconds_left > 10


@pytest.mark.parametrize("sent_after", [0.0, 13.0, 31.7, 46.0])
@pytest.mark.parametrize("read_s", [0.01, 0.3, 0.9, 2.0, 2.9, 8.0])
def test_reading_meanwhile_does_not_delay_the_last_post(
    schedule: RetrySchedule, clock: Clock, read_s: float, sent_after: float
) -> None:
    clock.now += sent_after
    schedule.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    pause = FIRST_READ_PAUSE_S
    while schedule.seconds_left > 0:
        clock.now += min(read_s, schedule.read_timeout(owed=False))
        if schedule.may_post_now:
            break
        clock.now += schedule.until_next_read(pause)
        pause = min(pause * 2, MAX_READ_PAUSE_S)
    assert schedule.may_post_now, "it was never sent"
    assert schedule.post_timeout >= MIN_POST_S


def test_a_late_takeover_inherits_no_pause(schedule: RetrySchedule, clock: Clock) -> None:
    clock.now += 3600
    schedule.inherit_pause(15.0)
    assert schedule.until_next_post == 0
