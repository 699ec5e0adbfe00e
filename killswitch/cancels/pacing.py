"""When a request may be sent again, and how long each call may take. Reads no database."""

import random
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from django.conf import settings

from killswitch.cancels.conclusion import AttemptLike
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer

# Pauses double. They stay below the 5 s after which a request without progress is an alarm.
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 3.0
FIRST_READ_PAUSE_S, MAX_READ_PAUSE_S = 0.1, 2.0
SETTLE_TIME_S = 2.0  # about how long an acknowledged cancel is not sent again
MIN_POST_S, MIN_READ_S = 0.3, 1.0
# How long before the time reserved for reading the last POST begins: long enough for the read that
# precedes it.
MIN_LAST_POST_S, MAX_LAST_POST_S = 0.5, 3.0
# When the EMS asks for a longer pause than there is time, one POST goes out after this long.
EARLY_POST_S = 5.0
# How many answers of a kind end the sending; all the others are repeated while time is left.
MAX_ANSWERS = {RetryAdvice.A_FEW_TIMES: 5, RetryAdvice.ONCE_MORE: 2}


class RetrySchedule:
    """The time of one request. All figures are seconds; `ends_at` is on the clock's scale."""

    def __init__(self, *, ends_at: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends_at = ends_at
        self._clock = clock
        self._may_post_at = 0.0
        self._answers: Counter[RetryAdvice] = Counter()
        self._ems_wants_pause = False
        # The EMS wants a longer pause than there is time: one early POST, and one at the end.
        self._early_post_is_planned = False
        self._last_post_is_planned = False
        self._was_last_post = False
        self.posts = 0
        self.answers_in_all = 0  # to all holders of the request

    @property
    def seconds_left(self) -> float:
        return self._ends_at - self._clock()

    @property
    def until_next_post(self) -> float:
        return max(self._may_post_at - self._clock(), 0.0)

    @property
    def may_post_again(self) -> bool:
        """Return True when the answers so far allow it and time is left for it and a read."""
        post_s = self.seconds_left - self.until_next_post - self._reserved_for_reading
        is_over = self._was_last_post or self.is_refused_for_good
        return not is_over and post_s >= MIN_POST_S

    @property
    def is_refused_for_good(self) -> bool:
        """Return True when the request was refused so often that sending it again is pointless."""
        return any(self._answers[advice] >= limit for advice, limit in MAX_ANSWERS.items())

    @property
    def may_post_now(self) -> bool:
        return self.may_post_again and self.until_next_post == 0

    @property
    def waits_for_retry_after(self) -> bool:
        """Return True during a pause that the EMS asked for."""
        return self._ems_wants_pause and self.may_post_again and not self.may_post_now

    @property
    def post_timeout(self) -> float:
        """Return the whole time for the first POST, and what leaves time to read for another."""
        whole = float(settings.EMS_TIMEOUT)
        if self.posts == 0:
            return whole
        return min(whole, max(self.seconds_left - self._reserved_for_reading, MIN_POST_S))

    def read_timeout(self, *, owed: bool) -> float:
        """Return the whole time for a read that is owed, the first one after a POST.

        Any other read ends in time for a POST that may still be made.
        """
        whole = float(settings.EMS_TIMEOUT)
        if owed:
            return whole
        seconds = self.seconds_left
        if self.may_post_again:
            seconds -= self._reserved_for_reading + MIN_LAST_POST_S
        return min(whole, max(seconds, MIN_READ_S))

    def until_next_read(self, pause: float) -> float:
        """Return the pause, or less when a POST is planned earlier or time is up."""
        if self.may_post_again and not self.may_post_now:
            pause = min(pause, self.until_next_post)
        return min(pause, self.seconds_left)

    def record_answer(self, answer: TimedCancelAnswer) -> None:
        """Plan the next POST after the answer to the last one."""
        self.posts += 1
        self.count_answer(answer)
        pause = self._pause_after(answer)
        pause *= random.uniform(0.8, 1.0)  # noqa: S311 - jitter, not a secret
        self._ems_wants_pause = answer.retry_after is not None
        if answer.retry_after is not None:
            self._was_last_post = self._last_post_is_planned
            pause = max(pause, self._bounded_pause(answer.retry_after))
        self._may_post_at = self._clock() + pause

    def _pause_after(self, answer: TimedCancelAnswer) -> float:
        """Return the pause that is kept unless the EMS asks for a longer one."""
        doublings = min(self.posts - 1, 10)  # no number of posts may overflow
        pause = min(FIRST_PAUSE_S * 2.0**doublings, MAX_PAUSE_S)
        is_acknowledgement = answer.outcome is Outcome.ACKNOWLEDGED
        return max(pause, SETTLE_TIME_S) if is_acknowledgement else pause

    def count_answer(self, answer: AttemptLike) -> None:
        """Count an answer, which may have been given to an earlier holder."""
        self.answers_in_all += 1
        if answer.outcome == Outcome.ACKNOWLEDGED:
            self._answers.clear()  # the EMS takes the request, whatever it refused before
        self._answers[answer.retry_advice] += 1

    def inherit_pause(self, pause: float) -> None:
        """Keep to the rest of a pause that an earlier holder had begun.

        It counts as one that the EMS asked for, so that the open orders may be read during it.
        """
        self._ems_wants_pause = True
        self._may_post_at = self._clock() + self._bounded_pause(pause)

    def _bounded_pause(self, pause: float) -> float:
        """Cut a pause for which there is not enough time, however long the EMS asks to wait.

        The kill must not fall silent for it: one POST goes out early, and one last POST at the end.
        """
        fifth = (settings.CANCEL_DEADLINE - self._reserved_for_reading) / 5
        last_post_s = float(min(max(fifth, MIN_LAST_POST_S), MAX_LAST_POST_S))
        longest = self.seconds_left - self._reserved_for_reading - last_post_s
        if pause <= longest:
            return pause
        if not self._early_post_is_planned:
            self._early_post_is_planned = True
            return min(EARLY_POST_S, longest / 2)
        self._last_post_is_planned = True
        return longest

    @property
    def _reserved_for_reading(self) -> float:
        return float(min(settings.EMS_TIMEOUT, settings.CANCEL_DEADLINE / 2))


def rest_of_pause(*, planned_at: datetime, answered_at: datetime, now: datetime) -> float:
    """Return the seconds that are left of a pause that another process began.

    Both ends of the pause come from that process's clock. This one's may differ, and may have
    jumped, so it can shorten the pause but never lengthen it.
    """
    pause = (planned_at - answered_at).total_seconds()
    elapsed_s = (now - answered_at).total_seconds()
    return max(pause - max(elapsed_s, 0.0), 0.0)
