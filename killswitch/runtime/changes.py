"""Lets the periodic tasks of a process wait for a change, in one small query for all of them.

Whatever they react to raises the revision: a request, a Hold, an alarm. While it stays the same, a
task that found nothing to do need not look again.
"""

import time
from collections.abc import Callable
from math import inf

from killswitch.runtime import revisions

LOOK_INTERVAL_S = 0.25
SHARED_FOR_S = 0.45  # with looks every 0.25 s, a change is seen within half a second
MAX_IDLE_S = 30.0
TOLERANCE_S = 0.1  # by which a look may come early, so that a pause is not one look too long


class NewestRevision:
    """The revision that a thread of this process read last, and when."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read: tuple[float, int] | None = None

    def get(self, *, max_age_s: float) -> int:
        """Return the revision, read now if the last one is older. Raises `django.db.Error`."""
        read, now = self._read, self._clock()
        if read is not None and now - read[0] < max_age_s:
            return read[1]
        # No lock: a thread whose query hangs must not make the others wait.
        value = revisions.current()
        self._read = (now, value)  # the time before the query, so that it is never too new
        return value


class ChangeGate:
    """Repeats work every `interval_s` seconds, but once it is idle only after a change.

    Called about every `LOOK_INTERVAL_S`. The work returns whether it has nothing to do until
    something changes. It is done at least every `max_idle_s` seconds, should a row be written
    without a revision, e.g. by a person in the database.

    One gate belongs to one thread; `newest` may be shared.
    """

    def __init__(
        self,
        *,
        interval_s: float,
        max_idle_s: float = MAX_IDLE_S,
        max_age_s: float = SHARED_FOR_S,
        newest: NewestRevision | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval_s = interval_s
        self._max_idle_s = max_idle_s
        self._max_age_s = max_age_s
        self._newest = newest or PROCESS
        self._clock = clock
        self._revision: int | None = None
        self._is_idle = False
        self._next_at = -inf

    def run(self, work: Callable[[], bool]) -> None:
        """Do the work if it is due. Raises what it raises, and `django.db.Error`."""
        if self.is_due() and work():
            self.rest()

    def is_due(self) -> bool:
        """Return whether to do the work now. Raises `django.db.Error`, and then it still is due."""
        has_time = self._clock() < self._next_at
        if has_time and not self._is_idle:
            return False
        # Read before the rows: what is written afterwards has a higher revision. Others may have
        # read it a moment ago, which is enough to see that there is nothing to do.
        revision = self._newest.get(max_age_s=self._max_age_s if has_time else 0.0)
        if has_time and revision == self._revision:
            return False
        self._is_idle, self._revision = False, revision
        self._next_at = self._clock() + self._interval_s - TOLERANCE_S
        return True

    def rest(self) -> None:
        """Wait for a change: there was nothing to do at the revision that was read last."""
        self._is_idle = True
        self._next_at = self._clock() + self._max_idle_s


PROCESS = NewestRevision()
"""Shared by the tasks of this process."""
