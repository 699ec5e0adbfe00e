"""Leases without comparing clocks: a unique holder, and how long its row has not changed.

A holder proves that it is alive by changing its row. Another process measures, by its own
monotonic clock, how long the row has stayed the same, and takes over by compare-and-set. The clocks
of two hosts are never compared, so a wrong clock does no harm.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from django.db.models import F, Manager, QuerySet

MAX_HOST_CHARS = 40  # a token fits into 100 characters
STALE_AFTER_S = 5.0  # for which a row may stay unchanged before another process takes its lease

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

    def forget(self, keys: Iterable[Key]) -> None:
        """Measure these from the next time on at which they are observed."""
        for key in keys:
            self._since.pop(key, None)


class RowLease:
    """A right that one process has at a time, held by compare-and-set on the one row of a table.

    The table has the columns `lease_token` and `lease_beats`. The holder raises the beats; other
    processes measure, by their own monotonic clocks, how long they have not changed.
    """

    def __init__(
        self,
        rows: Manager[Any],
        *,
        stale_after_s: float = STALE_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = new_lease_token()
        self._rows = rows
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._unchanged = StillnessTracker[str]()
        self.claims = 0  # how often this process has tried to take it from another one

    def hold(self) -> bool:
        """Keep the lease, or take it when no process holds it. Called about once a second."""
        if self.fence():
            return True
        token, beats = self._current()
        unchanged_s = self._unchanged.observe({token: beats}, now=self._clock())[token]
        if token and unchanged_s < self._stale_after_s:
            return False
        self.claims += 1
        lease_row = self._rows.filter(lease_token=token, lease_beats=beats)
        return lease_row.update(lease_token=self.token, lease_beats=beats + 1) == 1

    def release(self) -> None:
        """Let the next process begin at once."""
        self._mine().update(lease_token="", lease_beats=F("lease_beats") + 1)

    def fence(self) -> bool:
        """Return whether this process holds the lease; true until the end of the transaction."""
        return bool(self._mine().update(lease_beats=F("lease_beats") + 1))

    def _mine(self) -> QuerySet[Any]:
        return self._rows.filter(lease_token=self.token)

    def _current(self) -> tuple[str, int]:
        rows = self._rows.values_list("lease_token", "lease_beats")
        if not (row := rows.first()):
            self._rows.bulk_create([self._rows.model(id=1)], ignore_conflicts=True)
            row = rows.get()
        token, beats = row
        return token, beats
