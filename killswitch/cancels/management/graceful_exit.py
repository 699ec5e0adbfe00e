"""Ctrl-C and SIGTERM for a command that must say what it leaves behind."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from killswitch.cancels import thread_slots
from killswitch.cancels.leases import STOP

MAX_RELEASE_S = 1.0  # seconds at most; what is held longer is taken over all the same
POLL_INTERVAL_S = 0.05  # seconds


@contextmanager
def catch_signals() -> Iterator[threading.Event]:
    """The event is set instead of the process being ended, so that nothing is cut in two."""
    came = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: came.set()) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def release_leases() -> None:
    """Release what this process carries out, so that others can go on with it at once."""
    STOP.set()
    ends_at = time.monotonic() + MAX_RELEASE_S
    while not thread_slots.idle() and time.monotonic() < ends_at:
        time.sleep(POLL_INTERVAL_S)
