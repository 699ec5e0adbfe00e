"""Caches the result of costly work for a moment, with a limit on how long callers wait."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from killswitch.runtime.kept_connections import release_connection

Result = TypeVar("Result")

MAX_AGE_S = 1.0
MAX_WAIT_S = 1.5
THREAD_NAME = "readiness"

log = structlog.get_logger(__name__)


class _Run(Generic[Result]):
    def __init__(self) -> None:
        self.started_at = time.monotonic()
        self.ended = threading.Event()
        self.result: Result | None = None


class BackgroundCache(Generic[Result]):
    """Do the work at most once a second in this process, however many callers there are.

    The work has its own thread, because a database that is stopped or cut off may never respond.
    Callers get the `fallback` after 1.5 s, and later ones at once.
    """

    def __init__(
        self,
        work: Callable[[], Result],
        *,
        fallback: Callable[[], Result],
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._work = work
        self._fallback = fallback
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._run: _Run[Result] | None = None

    def get(self) -> Result:
        """Return the newest result, or the fallback while the work does not end."""
        with self._lock:
            run = self._run
            is_old = run is not None and time.monotonic() - run.started_at > self._max_age_s
            if run is None or (is_old and run.ended.is_set()):
                run = self._run = _Run()
                threading.Thread(
                    target=self._carry_out, args=[run], name=THREAD_NAME, daemon=True
                ).start()
        run.ended.wait(max(0.0, run.started_at + MAX_WAIT_S - time.monotonic()))
        return self._fallback() if run.result is None else run.result

    def forget(self) -> None:
        """Do the work again for the next caller."""
        with self._lock:
            self._run = None

    def _carry_out(self, run: _Run[Result]) -> None:
        try:
            run.result = self._work()
        except Exception:
            log.exception("readiness_unknown")
        finally:
            release_connection()
            run.ended.set()
