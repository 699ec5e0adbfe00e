"""Passwords are checked one at a time in each process, so that presses find a processor free."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAIT_S = 5.0  # seconds; a whole shift may sign in at once
MAX_WAITING = 32  # who waits holds a thread, and presses need threads

_place_in_line = threading.BoundedSemaphore(MAX_WAITING)
_turn = threading.Lock()


class HashingBusy(Exception):
    """Others are being checked; it is not known whether the password is right."""


@contextmanager
def exclusive_hashing() -> Iterator[None]:
    """Wait a moment for one's turn. Raises `Busy`."""
    if not _place_in_line.acquire(blocking=False):
        raise HashingBusy
    try:
        if not _turn.acquire(timeout=MAX_WAIT_S):
            raise HashingBusy
        try:
            yield
        finally:
            _turn.release()
    finally:
        _place_in_line.release()
