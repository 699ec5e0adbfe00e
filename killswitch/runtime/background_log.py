"""Lines of the log that are written by a thread of their own.

A process that logs to a pipe waits while nobody reads it. The lines about each request and each
call must hold up neither a cancel nor its answer.
"""

import queue
import threading
from typing import Any, Final

import structlog
from structlog.contextvars import get_contextvars
from structlog.stdlib import BoundLogger

MAX_WAITING: Final = 1000

log = structlog.get_logger(__name__)


class BackgroundLog:
    """Writes lines in their order.

    Those beyond `MAX_WAITING` are dropped, and counted in the next one.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[tuple[BoundLogger, str, dict[str, Any]]] = queue.Queue(MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._dropped = 0

    def info(self, logger: BoundLogger, event: str, **values: Any) -> None:
        """Hand over a line with these values and those bound to this thread, without waiting."""
        values = get_contextvars() | values
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            if self._dropped:
                values["dropped"] = self._dropped
            try:
                self._lines.put_nowait((logger, event, values))
            except queue.Full:
                self._dropped += 1
            else:
                self._dropped = 0

    def flush(self) -> None:
        """Wait until all lines are written."""
        self._lines.join()

    def _run(self) -> None:
        while True:
            logger, event, values = self._lines.get()
            try:
                logger.info(event, **values)
            except Exception:  # the lines after it must still be written
                log.exception("line_not_written", of=event)
            finally:
                self._lines.task_done()


BACKGROUND_LOG: Final = BackgroundLog()
