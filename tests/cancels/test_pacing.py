"""When a request may be sent again: by a clock that the test moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from killswitch.cancels.pacing import (
    FIRST_READ_PAUSE_S,
    MAX_PAUSE_S,
    MAX_READ_PAUSE_S,
    MIN_POST_S,
    RetrySchedule,
    still_to_wait,
)
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from tests.clock import Clock


@pytest.fixture
def pace(clock: Clock, settings: Any) -> RetrySchedule:
    settings.EMS_TIMEOUT = 10.0
    settings.CANCEL_DEADLINE = 60.0
    return RetrySchedule(ends_at=clock.now + 60, clock=clock)


def answer(
    outcome: Outcome,
    resend: RetryAdvice = RetryAdvice.AFTER_PAUSE,
    retry_after: float | None = None,
) -> TimedCancelAnswer:
    now = datetime.now(UTC)
    return TimedCancelAnswer(
        outcome=outcome,
        resend=resend,
        retry_after=retry_after,
        started_at=now,
        finished_at=now,
        duration_ms=1.0,
    )


def test_pauses_double_and_stay_below_what_would_be_an_alarm(pace: RetrySchedule) -> None:
    pauses = []
    for _ in range(8):
        pace.record_answer(answer(Outcome.NOT_DELIVERED))
        pauses.append(pace.until_next_post)
    assert 0.4 <= pauses[0] <= 0.5
    assert 0.8 <= pauses[1] <= 1.0
    assert max(pauses) <= MAX_PAUSE_S


def test_an_acknowledged_cancel_gets_time_to_settle(pace: RetrySchedule) -> None:
    pace.record_answer(answer(Outcome.ACKNOWLEDGED, RetryAdvice.NEVER))
    assert pace.until_next_post >= 1.6
    assert pace.may_post_again
    assert not pace.may_post_now


def test_retry_after_is_honoured_and_capped_by_the_time_of_the_request(
    pace: RetrySchedule, clock: Clock
) -> None:
    pace.record_answer(answer(Outcome.REJECTED, retry_after=30.0))
    assert pace.until_next_post == pytest.approx(30.0)
    assert pace.may_post_again
    clock.now += 10
    pace.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    assert pace.may_post_again, "one last POST has its time"
    clock.now += pace.until_next_post
    assert pace.may_post_now
    pace.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    assert not pace.may_post_again


def test_a_refusal_for_good_is_not_sent_again(pace: RetrySchedule) -> None:
    pace.record_answer(answer(Outcome.REJECTED, RetryAdvice.NEVER))
    assert not pace.may_post_again


def test_the_last_call_timeout_is_kept_for_reading(pace: RetrySchedule, clock: Clock) -> None:
    pace.record_answer(answer(Outcome.UNKNOWN))
    clock.now += 45
    assert pace.may_post_now
    assert pace.post_timeout == pytest.approx(5.0)
    clock.now += 5.1
    assert not pace.may_post_again


def test_however_late_the_first_post_and_the_owed_read_have_their_whole_time(
    pace: RetrySchedule, clock: Clock
) -> None:
    clock.now += 3600
    assert pace.post_timeout == 10.0
    assert pace.read_timeout(owed=True) == 10.0
    assert pace.read_timeout(owed=False) == 1.0


@pytest.mark.parametrize(
    ("passed", "left"),
    [(0, 15.0), (6, 9.0), (15, 0.0), (3600, 0.0), (-3600, 15.0)],
    ids=["at once", "later", "just over", "long over or a clock that jumped", "a clock set back"],
)
def test_another_process_waits_for_what_is_left_of_a_pause(passed: int, left: float) -> None:
    answered = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
    assert (
        still_to_wait(
            planned_at=answered + timedelta(seconds=15),
            answered_at=answered,
            now=answered + timedelta(seconds=passed),
        )
        == left
    )


def test_an_inherited_pause_leaves_time_for_a_last_post(pace: RetrySchedule, clock: Clock) -> None:
    pace.inherit_pause(3600.0)
    assert pace.waits_for_retry_after
    clock.now += pace.until_next_post
    assert pace.may_post_now
    assert pace.left > 10


@pytest.mark.parametrize("asked_at", [0.0, 13.0, 31.7, 46.0])
@pytest.mark.parametrize("reading", [0.01, 0.3, 0.9, 2.0, 2.9, 8.0])
def test_whoever_reads_meanwhile_does_not_oversleep_the_last_post(
    pace: RetrySchedule, clock: Clock, reading: float, asked_at: float
) -> None:
    clock.now += asked_at
    pace.record_answer(answer(Outcome.REJECTED, retry_after=3600.0))
    pause = FIRST_READ_PAUSE_S
    while pace.left > 0:
        clock.now += min(reading, pace.read_timeout(owed=False))
        if pace.may_post_now:
            break
        clock.now += pace.until_next_read(pause)
        pause = min(pause * 2, MAX_READ_PAUSE_S)
    assert pace.may_post_now, "it was never sent"
    assert pace.post_timeout >= MIN_POST_S


def test_who_takes_over_late_inherits_no_pause(pace: RetrySchedule, clock: Clock) -> None:
    clock.now += 3600
    pace.inherit_pause(15.0)
    assert pace.until_next_post == 0
