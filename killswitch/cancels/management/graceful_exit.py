"""Ctrl-C and SIGTERM for a command that must say what it leaves behind."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from killswitch.cancels import thread_slots
from killswitch.cancels.leases import STOP

LETTING_GO = 1.0  # seconds at most; what is held longer is taken over all the same
LOOK = 0.05  # seconds


@contextmanager
def noticed() -> Iterator[threading.Event]:
    """The event is set instead of the process being ended, so that nothing is cut in two."""
    came = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: came.set()) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def let_go() -> None:
    """Release what this process carries out, so that others can go on with it at once."""
    STOP.set()
    ends_at = time.monotonic() + LETTING_GO
    while not thread_slots.idle() and time.monotonic() < ends_at:
        time.sleep(LOOK)
