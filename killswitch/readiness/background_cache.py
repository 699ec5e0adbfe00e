"""Keeps the result of costly work for a moment, and never lets anybody wait long for it."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
from django.db import connection

Result = TypeVar("Result")

MAX_AGE_S = 1.0  # seconds
MAX_WAIT_S = 1.5  # seconds

log = structlog.get_logger(__name__)


class _Run(Generic[Result]):
    def __init__(self) -> None:
        self.began = time.monotonic()
        self.ended = threading.Event()
        self.result: Result | None = None


class BackgroundCache(Generic[Result]):
    """Does the work at most once a second in this process, whoever asks and however often.

    The work has a thread of its own, because a database that is stopped or cut off may never
    answer; who asks meanwhile gets `otherwise` within a second and a half, and at once later on.
    """

    def __init__(
        self,
        work: Callable[[], Result],
        *,
        otherwise: Callable[[], Result],
        keep: float = MAX_AGE_S,
    ) -> None:
        self._work = work
        self._otherwise = otherwise
        self._keep = keep
        self._lock = threading.Lock()
        self._run: _Run[Result] | None = None

    def get(self) -> Result:
        """The newest result, or `otherwise` when the work does not come to an end."""
        run = self._current()
        run.ended.wait(max(0.0, run.began + MAX_WAIT_S - time.monotonic()))
        return self._otherwise() if run.result is None else run.result

    def forget(self) -> None:
        """Do the work anew for the next one who asks."""
        with self._lock:
            self._run = None

    def _current(self) -> _Run[Result]:
        with self._lock:
            run = self._run
            too_old = run is not None and time.monotonic() - run.began > self._keep
            if run is None or (too_old and run.ended.is_set()):
                run = self._run = _Run()
                threading.Thread(target=self._carry_out, args=[run], daemon=True).start()
            return run

    def _carry_out(self, run: _Run[Result]) -> None:
        try:
            run.result = self._work()
        except Exception:
            log.exception("readiness_not_known")
        finally:
            connection.close()
            run.ended.set()
