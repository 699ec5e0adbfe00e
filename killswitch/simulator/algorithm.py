"""A trading algorithm that places orders at a steady pace, no matter what is cancelled."""

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from killswitch.simulator.books import Books
from killswitch.simulator.lives import Life

ORDERS = 5
INTERVAL_S = 0.3
DURATION_S = 180.0


@dataclass(frozen=True, kw_only=True)
class AlgorithmReport:
    """What has become of the orders on the algorithm's exchanges."""

    running: bool = False
    exchange_ids: Sequence[str] = ()
    placed: int = 0
    alive: int = 0
    longest_listed_s: float = 0.0
    longest_life: Life | None = None


@dataclass(kw_only=True)
class Algorithm:
    """Places `orders` on each exchange every `interval_s`, for `duration_s`, in its own thread."""

    books: Books
    exchange_ids: Sequence[str]
    orders: int
    interval_s: float
    duration_s: float
    placed: int = 0
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="simulator-algorithm", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        started_at = time.monotonic()
        for step in itertools.count():
            # Not a pause between two steps: the pace is the same on a busy machine.
            after_s = step * self.interval_s
            if after_s >= self.duration_s:
                return
            if self._stopping.wait(max(0.0, started_at + after_s - time.monotonic())):
                return
            for exchange_id in self.exchange_ids:
                self.placed += len(self.books[exchange_id].place(self.orders))
