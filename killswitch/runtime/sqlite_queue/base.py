"""Django's SQLite backend with one addition: writers queue for a lock instead of polling.

SQLite makes a second writer sleep and try again, with growing pauses, which turns a burst of fifty
short transactions into seconds. Here every transaction first takes a lock: of this process
(a mutex) and between processes (`flock` on a file next to the database). After two seconds without
it a transaction goes on all the same: SQLite's own locking keeps it correct, only slower.

The option `mode` is that of SQLite's URIs. With `rw`, a file that is missing is an error: by
default SQLite creates an empty one, which would look like a log without events.

A connection is kept from one request to the next (`kept_connections`) and used again only while the
file and its write-ahead log are those that it was opened on and can be opened for writing: what is
written to a file that was removed or replaced would be lost.
"""

import os
import threading
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3 import base

from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.files import OWNER_ONLY, lock_file
from killswitch.runtime.kept_connections import KeepingDatabaseWrapper

TURN_TIMEOUT_S = 2.0
POLL_INTERVAL_S = 0.001  # between two attempts to take another process's lock

_turn = threading.Lock()


class DatabaseWrapper(KeepingDatabaseWrapper, base.DatabaseWrapper):
    """A connection with transactions that wait for their turn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue_file: int | None = None
        self._has_turn = False
        self._cursors: weakref.WeakSet[Any] = weakref.WeakSet()

    def open_connection(self, conn_params: dict[str, Any]) -> Any:
        before = self._files()
        connection = base.DatabaseWrapper.get_new_connection(self, conn_params)
        after = self._files()
        # One that was opened for reading only, or while the file was replaced, is not kept.
        self.opened_on = after if before and after and before[0] == after[0] else None
        return connection

    def still_works(self, connection: Any, *, opened_on: Any) -> bool:  # noqa: ARG002 - the path is what matters
        return bool(self._files() == opened_on)

    def is_idle(self) -> bool:
        """Close the cursors that were not read to their end, and return whether that suffices.

        While one is open, all queries of its connection see the database as it was then.
        """
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()
        return not self.connection.in_transaction

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = super().create_cursor(name)
        self._cursors.add(cursor)
        return cursor

    def _files(self) -> tuple[tuple[int, int], tuple[int, int] | None] | None:
        """Return what identifies the file and its write-ahead log; None if it is not writable."""
        name = str(self.settings_dict["NAME"])
        try:
            file = os.stat(name)
        except OSError:
            return None
        if not os.access(name, os.W_OK):
            return None
        log = None  # that of the first connection does not exist yet
        with suppress(OSError):
            log = os.stat(f"{name}-wal")
        return (file.st_dev, file.st_ino), (log.st_dev, log.st_ino) if log else None

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        if mode := parameters.pop("mode", ""):
            path = Path(parameters["database"]).absolute()
            parameters["database"] = f"{path.as_uri()}?mode={mode}"
        return parameters

    def _start_transaction_under_autocommit(self) -> None:
        if not self.is_in_memory_db():
            deadline = Deadline(TURN_TIMEOUT_S)
            self._has_turn = _turn.acquire(timeout=TURN_TIMEOUT_S)
            # Without the queue a transaction is slower under load, and as correct.
            with suppress(OSError):
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                name = f"{self.settings_dict['NAME']}.queue"
                self._queue_file = os.open(name, flags, OWNER_ONLY)
                lock_file(
                    self._queue_file, timeout_s=deadline.seconds_left, pause_s=POLL_INTERVAL_S
                )
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _close(self) -> None:
        self._cursors.clear()
        try:
            super()._close()
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._queue_file is not None:
            os.close(self._queue_file)  # closing releases the lock
            self._queue_file = None
        if self._has_turn:
            self._has_turn = False
            _turn.release()
