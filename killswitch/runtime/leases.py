"""Leases without comparing clocks: a unique holder, and how long its row has not changed.

A holder proves that it is alive by changing its row. Another process measures, by its own
monotonic clock, how long the row has stayed the same, and takes over by compare-and-set. The clocks
of two hosts are never compared, so a wrong clock does no harm.
"""

import os
import secrets
import socket
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

MAX_HOST_CHARS = 40  # a token fits into 100 characters

Key = TypeVar("Key", bound=Hashable)


def new_lease_token() -> str:
    """Return a name for one claim, unique everywhere: host, process and 80 random bits."""
    host = socket.gethostname()[:MAX_HOST_CHARS]
    return f"{host}:{os.getpid()}:{secrets.token_hex(10)}"


class StillnessTracker(Generic[Key]):
    """Measures how long values have stayed the same, each under its key.

    It reads no clock: the caller gives the time, in monotonic seconds.
    """

    def __init__(self) -> None:
        self._since: dict[Key, tuple[object, float]] = {}

    def observe(self, values: Mapping[Key, object], *, now: float) -> dict[Key, float]:
        """Return for each key the seconds since its value was first seen as it is now.

        A key that is missing is forgotten: when it comes back, it starts at 0.
        """
        earlier_values, self._since = self._since, {}
        for key, value in values.items():
            last_value, since = earlier_values.get(key, (None, now))
            self._since[key] = (value, since if last_value == value else now)
        return {key: now - since for key, (_, since) in self._since.items()}
