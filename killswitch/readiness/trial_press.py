"""Learns whether a click could be recorded, by recording one every few seconds and rolling it back.

A heartbeat replaces one row, which takes no room on the disk, no event and no lock of the log: it
goes on working while every click fails.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error

from killswitch.break_glass import outage
from killswitch.cancels import services
from killswitch.runtime.schema_version import schema_difference
from killswitch.runtime.text import error_line, pluralize_count
from killswitch.structured_logs import masked

INTERVAL_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Why a click cannot be recorded, and why the next one may not be; "" if it can."""

    problem: str = ""
    warning: str = ""


class TrialPress:
    """The last trial of this process."""

    def __init__(
        self, *, interval_s: float = INTERVAL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._lock = threading.Lock()
        self._succeeded_at = float("-inf")
        self._last = Trial()

    def get(self) -> Trial:
        """Return the last trial; try again if it is old, or has failed."""
        with self._lock:
            is_old = self._clock() - self._succeeded_at >= self._interval_s
            if is_old or outage.is_recent():  # a click or a page has just failed
                self._last = try_once()
                if not self._last.problem:
                    self._succeeded_at = self._clock()
            return self._last

    def forget(self) -> None:
        """Try again when it is asked for next."""
        with self._lock:
            self._succeeded_at = float("-inf")


def try_once() -> Trial:
    """Record a click and roll it back."""
    try:
        services.record_and_roll_back()
    except services.NothingToCancel:
        pass  # the check of the exchanges fails
    except Error as error:
        return Trial(problem=f"a cancel cannot be recorded ({masked(error_line(error))})")
    difference = schema_difference()
    if missing := difference.missing:
        count = pluralize_count(len(missing), "migration")
        return Trial(warning=f"{count} of this version missing ({missing[0]}): run `prepare`")
    if newer := difference.newer:
        return Trial(warning=f"prepared by a newer version ({newer[0]}): start that version here")
    return Trial()


PROCESS = TrialPress()
"""That of this process."""
