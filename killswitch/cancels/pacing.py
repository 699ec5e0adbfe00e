"""When a request may be sent again, and how long each call may take. Knows no database."""

import random
import time
from collections.abc import Callable
from datetime import datetime

from django.conf import settings

from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer

# Pauses stay below the 5 s after which a request without progress is an alarm.
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 3.0  # seconds between POSTs, doubling
FIRST_READ_PAUSE_S, MAX_READ_PAUSE_S = 0.1, 2.0  # seconds between reads, doubling
SETTLE_TIME_S = 2.0  # seconds an acknowledged cancel gets before it is sent again
MIN_POST_S, MIN_READ_S = 0.3, 1.0  # seconds
# Seconds before the time kept for reading, in which a last POST still begins. Long enough for the
# read that comes before it.
MIN_LAST_POST_S, MAX_LAST_POST_S = 0.5, 3.0


class RetrySchedule:
    """The time of one request. All figures are seconds; `ends_at` is on the clock's scale."""

    def __init__(self, *, ends_at: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends_at = ends_at
        self._clock = clock
        self._may_post_at = 0.0
        self._may_repeat = True
        self._told_to_wait = False
        self._last_is_planned = False  # the EMS wants a longer pause than there is time
        self.posts = 0

    @property
    def left(self) -> float:
        return self._ends_at - self._clock()

    @property
    def until_next_post(self) -> float:
        return max(self._may_post_at - self._clock(), 0.0)

    @property
    def may_post_again(self) -> bool:
        """The last answer does not forbid it, and there is time for it and for a read after it."""
        begins_with = self.left - self.until_next_post - self._reserve
        return self._may_repeat and begins_with >= MIN_POST_S

    @property
    def may_post_now(self) -> bool:
        return self.may_post_again and self.until_next_post == 0

    @property
    def waits_for_retry_after(self) -> bool:
        """The EMS said when to ask again, and it is not yet then."""
        return self._told_to_wait and self.may_post_again and not self.may_post_now

    @property
    def post_timeout(self) -> float:
        """The first POST has its whole time however late it is; a later one leaves time to read."""
        if self.posts == 0:
            return float(settings.EMS_TIMEOUT)
        return min(float(settings.EMS_TIMEOUT), max(self.left - self._reserve, MIN_POST_S))

    def read_timeout(self, *, owed: bool) -> float:
        """A read that is owed, the first one after a POST, has its whole time.

        Another one ends before it is too late for a POST that may still be made.
        """
        whole = float(settings.EMS_TIMEOUT)
        ends_in = self.left - self._reserve - MIN_LAST_POST_S if self.may_post_again else self.left
        return whole if owed else min(whole, max(ends_in, MIN_READ_S))

    def until_next_read(self, pause: float) -> float:
        """The pause, or less: a POST that is planned is not overslept."""
        if self.may_post_again and not self.may_post_now:
            pause = min(pause, self.until_next_post)
        return min(pause, self.left)

    def record_answer(self, answer: TimedCancelAnswer) -> None:
        """Plan from the answer to the POST that just ended."""
        self.posts += 1
        acknowledged = answer.outcome is Outcome.ACKNOWLEDGED
        self._may_repeat = acknowledged or answer.resend is not RetryAdvice.NEVER
        pause = min(FIRST_PAUSE_S * 2.0 ** (self.posts - 1), MAX_PAUSE_S)
        pause = max(pause, SETTLE_TIME_S) if acknowledged else pause
        pause *= random.uniform(0.8, 1.0)  # noqa: S311  # jitter, not a secret
        self._told_to_wait = answer.retry_after is not None
        if self._told_to_wait and self._last_is_planned:
            self._may_repeat = False  # that was the last one
        self._wait(max(pause, self._bearable(answer.retry_after or 0.0)))

    def inherit_pause(self, pause: float) -> None:
        """Go on with what is left of the pause that an earlier holder had begun."""
        self._told_to_wait = True
        self._wait(self._bearable(pause))

    def _wait(self, seconds: float) -> None:
        self._may_post_at = self._clock() + seconds

    def _bearable(self, seconds: float) -> float:
        """However long the EMS asks us to wait, one last POST has its time."""
        most = self.left - self._reserve - self._turn
        self._last_is_planned = self._last_is_planned or seconds > most
        return min(seconds, most)

    @property
    def _turn(self) -> float:
        fifth = (settings.CANCEL_DEADLINE - self._reserve) / 5
        return float(min(max(fifth, MIN_LAST_POST_S), MAX_LAST_POST_S))

    @property
    def _reserve(self) -> float:
        """What is kept at the end for reading."""
        return float(min(settings.EMS_TIMEOUT, settings.CANCEL_DEADLINE / 2))


def still_to_wait(*, planned_at: datetime, answered_at: datetime, now: datetime) -> float:
    """Seconds that are left of a pause that another process began.

    Both ends of the pause come from that process's clock. This one's may differ, and may have
    jumped, so it can shorten the pause but never lengthen it.
    """
    pause = (planned_at - answered_at).total_seconds()
    gone = (now - answered_at).total_seconds()
    return max(pause - max(gone, 0.0), 0.0)
