"""Django's SQLite backend with one addition: writers queue for a lock instead of polling.

SQLite makes a second writer sleep and try again, with growing pauses, which turns a burst of fifty
short transactions into seconds. Here every transaction first takes a lock: of this process
(a mutex) and between processes (`flock` on a file beside the database). After two seconds without
it a transaction goes on all the same: SQLite's own locking keeps it correct, only slower.
"""

import fcntl
import os
import threading
import time
from typing import Any

from django.db.backends.sqlite3 import base

PATIENCE = 2.0  # seconds
PAUSE = 0.001  # seconds between two looks at another process's lock

_turn = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection whose transactions wait for their turn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue_file: int | None = None
        self._has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
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
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _take_turn(self) -> None:
        if self.is_in_memory_db():
            return
        give_up_at = time.monotonic() + PATIENCE
        self._has_turn = _turn.acquire(timeout=PATIENCE)
        while not self._lock_file() and time.monotonic() < give_up_at:
            time.sleep(PAUSE)

    def _lock_file(self) -> bool:
        name = f"{self.settings_dict['NAME']}.queue"
        try:
            if self._queue_file is None:
                self._queue_file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._queue_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Without the queue a transaction is slower under load, and as correct.
            return True
        return True

    def _end_turn(self) -> None:
        if self._queue_file is not None:
            os.close(self._queue_file)  # closing lets go of the lock
            self._queue_file = None
        if self._has_turn:
            self._has_turn = False
            _turn.release()
