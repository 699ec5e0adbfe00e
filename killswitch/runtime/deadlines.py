"""Waits with an end, measured by this process's monotonic clock."""

import time
from collections.abc import Callable


class Deadline:
    """A moment `timeout_s` seconds from now; `math.inf` never comes."""

    def __init__(self, timeout_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + timeout_s

    @property
    def seconds_left(self) -> float:
        """Return the seconds until then, at least 0: usable as a timeout as it is."""
        return max(0.0, self._ends_at - self._clock())

    @property
    def has_passed(self) -> bool:
        return self.seconds_left <= 0


def wait_until(
    condition: Callable[[], bool],
    *,
    timeout_s: float,
    pause_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> bool:
    """Return True as soon as the condition holds, False when it does not within `timeout_s`.

    The condition is evaluated at least once, and a last time when the timeout is over.
    """
    deadline = Deadline(timeout_s, clock=clock)
    while not condition():
        if deadline.has_passed:
            return False
        sleep(min(pause_s, deadline.seconds_left))
    return True
