"""Limits repeated presses of one person, and never refuses a first one."""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

WINDOW_S = 60.0
MAX_PRESSES = 5  # on one exchange in the window
# On all exchanges together. No person reaches it: only a script, by IDs that do not exist.
MAX_REQUESTS = 10_000


class PressLimit:
    """Counts presses by person and exchange in this process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._presses: defaultdict[int, dict[str, deque[float]]] = defaultdict(dict)
        self._nonces: dict[str, float] = {}

    def allows(self, user_id: int, exchange_ids: Sequence[str], *, nonce: str) -> bool:
        """Count a press once for its nonce, and return True.

        Return False if every one of its exchanges had too many presses.
        """
        now = self._clock()
        with self._lock:
            self._nonces = {key: at for key, at in self._nonces.items() if at > now - WINDOW_S}
            if nonce in self._nonces:
                return True
            for user, counters in list(self._presses.items()):
                self._presses[user] = _recent(counters, since=now - WINDOW_S)
                if not self._presses[user]:
                    del self._presses[user]
            own = self._presses[user_id]
            is_flood = all(len(own.get(name, ())) >= MAX_PRESSES for name in exchange_ids)
            if is_flood or sum(map(len, own.values())) + len(exchange_ids) > MAX_REQUESTS:
                return False
            for name in exchange_ids:
                own.setdefault(name, deque()).append(now)
            self._nonces[nonce] = now
        return True


def _recent(counters: dict[str, deque[float]], *, since: float) -> dict[str, deque[float]]:
    """Return the counters without what is older; those without anything newer are dropped."""
    recent = {name: deque(at for at in times if at > since) for name, times in counters.items()}
    return {name: times for name, times in recent.items() if times}
