"""The threads of this process that carry requests out: one for each, and a limited number."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from killswitch.runtime.deadlines import Deadline

MAX_THREADS = 512
# How long after the claim an answer waits, at most, for the other POSTs of its batch to be sent.
# Reading answers and recording results take locks and processor time, which the POSTs need first.
MAX_LATCH_WAIT_S = 0.1

_free = threading.BoundedSemaphore(MAX_THREADS)


class ThreadSlots:
    """Reserves up to `limit` threads before requests are claimed, and frees those not used.

    A request is claimed only when a thread is free for it: another process may have one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.count = 0

    def __enter__(self) -> Self:
        while self.count < self._limit and _free.acquire(blocking=False):
            self.count += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.count:
            _free.release(self.count)

    def start(self, work: Callable[[], None]) -> None:
        """Run the work, which must not raise, in a thread that frees its slot when it ends.

        Raises RuntimeError or MemoryError when the machine has no thread left.
        """

        def work_then_free() -> None:
            try:
                work()
            finally:
                _free.release()

        threading.Thread(target=work_then_free, name="kill").start()
        self.count -= 1


class Latch:
    """Opens when the first POST of each request of a batch has been sent, or never will be."""

    def __init__(self, request_ids: Iterable[int]) -> None:
        self._pending = set(request_ids)
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._deadline = Deadline(MAX_LATCH_WAIT_S)

    def mark_sent(self, request_id: int) -> None:
        with self._lock:
            self._pending.discard(request_id)
            if not self._pending:
                self._open.set()

    def wait(self) -> None:
        """Return once all have been sent, or a tenth of a second after the claim."""
        self._open.wait(self._deadline.seconds_left)


def idle() -> bool:
    """Return True when this process carries no request out."""
    return _free._value == MAX_THREADS
