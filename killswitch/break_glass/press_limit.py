"""Limits repeated presses of one person, and never refuses a first one."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

WINDOW_S = 60.0
MAX_PRESSES = 5  # on one exchange in the window


class PressLimit:
    """Counts presses by person and exchange in this process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._presses: defaultdict[tuple[int, str], deque[float]] = defaultdict(deque)

    def allows(self, user_id: int, exchange_ids: Sequence[str]) -> bool:
        """Count a press, unless every one of its exchanges had too many; then return False."""
        now = self._clock()
        with self._lock:
            counters = [self._presses[user_id, name] for name in exchange_ids]
            for counter in counters:
                while counter and counter[0] <= now - WINDOW_S:
                    counter.popleft()
            if all(len(counter) >= MAX_PRESSES for counter in counters):
                return False
            for counter in counters:
                counter.append(now)
        return True
