"""Runs a task again and again until it is stopped, and survives every failure in between."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog
from django.db import Error, connection

from killswitch.runtime.kept_connections import release_connection

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PeriodicTask:
    """Work to be done every `interval_s` seconds, from start to start.

    An exception ends neither the loop nor its thread. It is logged when the work begins to fail,
    when it fails with another kind of error, and when it succeeds again. The database connection is
    released before each pause; with `keep_connection`, for work that runs very often, the thread
    keeps it until a failure or the end. Work that fails on it is repeated at once on a new one.

    With `is_aligned` the work starts at whole multiples of the interval, by the time of day. All
    processes then write at the same moments, and their commits share one write to the disk.
    """

    name: str
    work: Callable[[], object]
    interval_s: float
    first_pause_s: float = 0.0
    keep_connection: bool = False
    is_aligned: bool = False
    clock: Callable[[], float] = time.monotonic

    def run_until(self, stop: threading.Event) -> None:
        """Repeat the work until `stop` is set, which also ends a pause at once."""
        last_failure = ""
        stop.wait(self.first_pause_s)
        while not stop.is_set():
            started_at, started_time = self.clock(), time.time()
            is_kept = connection.connection is not None
            error: Exception | None = None
            try:
                self.work()
            except Exception as failure:  # noqa: BLE001 - a dead thread would go unnoticed
                error = failure
            with suppress(Error):
                if error:
                    connection.close()
                elif not self.keep_connection:
                    release_connection()
            error_name = type(error).__name__ if error else ""
            if error_name != last_failure:
                self._log_change(error)
            last_failure = error_name
            pause_s = started_at + self.interval_s - self.clock()
            if self.is_aligned:
                pause_s -= late_by_s(started_time, self.interval_s)
            if is_kept and isinstance(error, Error):
                pause_s = 0.0  # only the kept connection may be gone, as after a restart
            stop.wait(max(0.0, pause_s))
        if self.keep_connection:
            with suppress(Error):
                connection.close()

    def start_thread(self, stop: threading.Event) -> threading.Thread:
        """Repeat the work in a daemon thread.

        Raises RuntimeError or MemoryError when the machine has no thread left.
        """
        thread = threading.Thread(target=self.run_until, args=[stop], name=self.name, daemon=True)
        thread.start()
        return thread

    def _log_change(self, error: Exception | None) -> None:
        if error is None:
            log.info("task_works_again", task=self.name)
        elif isinstance(error, Error):
            log.warning("database_gone", task=self.name, error=str(error).strip())
        else:
            log.error("task_failed", task=self.name, exc_info=error)


def late_by_s(at: float, interval_s: float) -> float:
    """Return how long after a multiple of the interval a time is; negative shortly before one."""
    return at - math.floor(at / interval_s + 0.25) * interval_s
