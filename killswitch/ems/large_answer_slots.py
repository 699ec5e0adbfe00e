"""Room for long answers: few of them are in memory at once, whatever the number of threads."""

import threading
from types import TracebackType
from typing import Self

from killswitch.ems.call_deadline import CallDeadline

_PLACES = threading.BoundedSemaphore(2)


class LargeAnswerSlot:
    """Taken when an answer turns out to be long, and given back when it has been read."""

    def __init__(self, call: CallDeadline) -> None:
        self._call = call
        self._taken = False

    def take(self) -> None:
        """Wait for a place, not longer than the call may last. Raises TimeoutError."""
        if not _PLACES.acquire(timeout=self._call.left()):
            raise TimeoutError("other long answers were being read all the time")
        self._taken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._taken:
            _PLACES.release()
