"""A wait ends when its condition holds, or when its time is over."""

import math

import pytest

from killswitch.runtime.deadlines import Deadline, wait_until
from tests.clock import Clock


class Pauses:
    """Pauses that take no time but move a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.lengths: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        self._clock.now += seconds


def test_the_seconds_left_shrink_to_zero_and_no_further() -> None:
    clock = Clock()
    deadline = Deadline(2.0, clock=clock)
    assert deadline.seconds_left == 2.0
    assert not deadline.has_passed
    clock.now += 1.5
    assert deadline.seconds_left == 0.5
    clock.now += 5
    assert deadline.seconds_left == 0.0
    assert deadline.has_passed


def test_an_infinite_deadline_never_passes() -> None:
    clock = Clock()
    deadline = Deadline(math.inf, clock=clock)
    clock.now += 1e12
    assert not deadline.has_passed


def test_a_condition_that_holds_is_not_waited_for() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    assert wait_until(lambda: True, timeout_s=0, pause_s=1, clock=clock, sleep=pauses)
    assert pauses.lengths == []


def test_a_condition_that_comes_true_ends_the_wait() -> None:
    clock = Clock()
    pauses = Pauses(clock)
    assert wait_until(
        lambda: len(pauses.lengths) == 3, timeout_s=9, pause_s=1, clock=clock, sleep=pauses
    )
    assert pauses.lengths == [1, 1, 1]


def test_the_last_pause_is_no_longer_than_the_time_left_and_the_condition_has_a_last_chance() -> (
    None
):
    clock = Clock()
    pauses = Pauses(clock)
    assert wait_until(
        lambda: clock.now >= 1002.5, timeout_s=2.5, pause_s=1, clock=clock, sleep=pauses
    )
    assert pauses.lengths == [1, 1, 0.5]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 0.25])
def test_a_condition_that_never_holds_ends_at_the_deadline(timeout_s: float) -> None:
    clock = Clock()
    assert not wait_until(
        lambda: False, timeout_s=timeout_s, pause_s=0.1, clock=clock, sleep=Pauses(clock)
    )
    assert clock.now == pytest.approx(1000.0 + max(timeout_s, 0.0))
