"""The threads of this process that carry requests out: one each, never more than there are."""

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

MAX_THREADS = 512
MAX_LATCH_WAIT_S = 0.1  # seconds that writing waits for the press's other POSTs to leave

_free = threading.BoundedSemaphore(MAX_THREADS)


class ThreadSlots:
    """Up to so many threads, kept for what is about to be claimed; those not used are given back.

    Nothing is claimed that no thread is free to carry out: somebody else may have one.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.count = 0

    def __enter__(self) -> Self:
        while self.count < self._wanted and _free.acquire(blocking=False):
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
        """Run the work in a thread of its own. It must not raise: nobody would hear it.

        Raises RuntimeError or MemoryError when the machine has no thread left; the place is given
        back then.
        """
        threading.Thread(target=_do, args=[work], name="kill").start()
        self.count -= 1


class Latch:
    """Opens when the first POST of each request of a press has left, or never will."""

    def __init__(self, request_ids: Iterable[int]) -> None:
        self._waited_for = set(request_ids)
        self._lock = threading.Lock()
        self._open = threading.Event()

    def left(self, request_id: int) -> None:
        with self._lock:
            self._waited_for.discard(request_id)
            if not self._waited_for:
                self._open.set()

    def wait(self) -> None:
        self._open.wait(MAX_LATCH_WAIT_S)


def idle() -> bool:
    """Whether this process carries nothing out."""
    return _free._value == MAX_THREADS


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    finally:
        _free.release()
