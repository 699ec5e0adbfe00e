"""Whether this process has just seen the database fail. Kept in memory, asks nothing."""

import time

# How long after a failure break glass is offered: long enough to read a question and answer it.
OFFERED_FOR_S = 300.0


class _LastFailure:
    at = float("-inf")  # monotonic seconds


def note_failure() -> None:
    """Remember that a request could not be recorded or a page not be read."""
    _LastFailure.at = time.monotonic()


def is_recent() -> bool:
    """Return whether break glass is offered now."""
    return time.monotonic() - _LastFailure.at < OFFERED_FOR_S


def forget() -> None:
    """Offer it no more."""
    _LastFailure.at = float("-inf")
