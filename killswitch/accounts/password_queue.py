"""Passwords are checked one at a time in each process, so that presses find a processor free."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 5.0  # seconds; a whole shift may sign in at once
LONGEST_LINE = 32  # who waits holds a thread, and presses need threads

_place_in_line = threading.BoundedSemaphore(LONGEST_LINE)
_turn = threading.Lock()


class Busy(Exception):
    """Others are being checked; it is not known whether the password is right."""


@contextmanager
def turn() -> Iterator[None]:
    """Wait a moment for one's turn. Raises `Busy`."""
    if not _place_in_line.acquire(blocking=False):
        raise Busy
    try:
        if not _turn.acquire(timeout=PATIENCE):
            raise Busy
        try:
            yield
        finally:
            _turn.release()
    finally:
        _place_in_line.release()
