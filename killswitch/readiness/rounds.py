"""Does one thing again and again until it is told to stop, whatever goes wrong meanwhile."""

import threading
import time
from collections.abc import Callable

import structlog
from django.db import Error, connection

log = structlog.get_logger(__name__)


def rounds(*, name: str, do: Callable[[], object], every: float, stop: threading.Event) -> None:
    """Call `do` every so many seconds. No database connection is kept during the pause.

    A failure is logged when it begins and when it ends, not each time.
    """
    failing = ""
    while not stop.is_set():
        began = time.monotonic()
        failure = _once(do, name=name, known=failing)
        if failing and not failure:
            log.info("round_works_again", round=name)
        failing = failure
        stop.wait(max(0.0, every - (time.monotonic() - began)))


def start_rounds(
    *, name: str, do: Callable[[], object], every: float, stop: threading.Event
) -> threading.Thread:
    """The same in a thread that does not hold up the end of the process."""
    thread = threading.Thread(
        target=rounds,
        kwargs={"name": name, "do": do, "every": every, "stop": stop},
        name=name,
        daemon=True,
    )
    thread.start()
    return thread


def _once(do: Callable[[], object], *, name: str, known: str) -> str:
    """Do it, and return what failed. It may be anything: nobody would notice a dead thread."""
    try:
        do()
    except Error as error:
        failure = type(error).__name__
        if failure != known:
            log.warning("database_gone", round=name, error=str(error).strip())
    except Exception as error:
        failure = type(error).__name__
        if failure != known:
            log.exception("round_failed", round=name)
    else:
        failure = ""
    finally:
        connection.close()
    return failure
