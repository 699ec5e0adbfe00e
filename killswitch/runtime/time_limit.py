"""Ends what waits too long for a PostgreSQL server that accepts a statement and never answers.

A server whose disk hangs answers no COMMIT, and no limit of its own ends that wait. One thread of
this process then shuts the connection down, which its user sees as a lost connection. SQLite has no
server: there, a statement that waits for the disk cannot be ended.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import DEFAULT_DB_ALIAS, connections

from killswitch.runtime.kept_connections import waiting_for_a_connection

CHECK_INTERVAL_S = 0.25

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Wait:
    connection: Any  # Django's, of the thread that waits
    ends_at: float  # monotonic seconds


_waits: set[_Wait] = set()
_changed = threading.Condition()
_threads: dict[int, threading.Thread] = {}  # by process: a fork has no copy of a thread


@contextmanager
def answered_within(seconds: float) -> Iterator[None]:
    """Let the database calls of this thread fail with `OperationalError` after this time.

    A connection that becomes free is waited for as long.
    """
    own = connections[DEFAULT_DB_ALIAS]
    if own.vendor != "postgresql":
        yield
        return
    wait = _Wait(connection=own, ends_at=time.monotonic() + seconds)
    with _changed:
        _waits.add(wait)
        _ensure_thread()
        _changed.notify()
    try:
        with waiting_for_a_connection(seconds):
            yield
    finally:
        with _changed:
            _waits.discard(wait)


def _ensure_thread() -> None:
    if os.getpid() in _threads:
        return
    thread = threading.Thread(target=_watch, name="time limit", daemon=True)
    try:
        thread.start()
    except (RuntimeError, MemoryError):  # without a limit for now; the next call tries again
        log.exception("no_thread_for_the_time_limit")
    else:
        _threads[os.getpid()] = thread


def _watch() -> None:
    while True:
        with _changed:
            _changed.wait_for(lambda: bool(_waits))
            now = time.monotonic()
            for wait in [wait for wait in _waits if wait.ends_at <= now]:
                _waits.discard(wait)
                _shut_down(wait.connection)
        time.sleep(CHECK_INTERVAL_S)


def _shut_down(waiting: Any) -> None:
    """Shut the socket down; the connection itself is closed by the thread that waits."""
    try:
        with socket.socket(fileno=os.dup(waiting.connection.fileno())) as server:
            server.shutdown(socket.SHUT_RDWR)
    except Exception as error:  # noqa: BLE001 - it is being opened or closed at this moment
        log.info("not_shut_down", error=str(error))
    else:
        log.warning("database_does_not_answer")
