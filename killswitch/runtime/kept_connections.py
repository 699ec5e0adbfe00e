"""The database connections of a process: how many it opens, and which it keeps for the next use.

To open one costs several times what the queries of an idle poll cost, and to close the last one of
a SQLite database writes its whole log back. The end of a request keeps a connection, and so does
`release_connection`; one that is closed is closed. A thread holds none between two requests, nor
while it waits for the EMS, and a process keeps at most `MAX_KEPT`. A connection is checked before
it is used again.

PostgreSQL has a limited number of sessions for all processes together. One process opens at most
`max_open`; a thread that finds all of them in use waits until one is free. A few are reserved for
what a cancel cannot wait for: to be recorded, claimed or taken over, the renewal of its lease, and
whether a session has ended that breaks the glass.
"""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from killswitch.runtime.deadlines import Deadline

# Polls come one after the other; a burst of presses or results opens connections of its own.
MAX_KEPT = 4
# How long a thread waits while all connections are in use, unless it says otherwise.
MAX_WAIT_S = 2.0
# A thread that ends without closing its connection wakes no other.
RECOUNT_INTERVAL_S = 0.25
# A server that hangs, and not a busy one: an attempt to connect takes so long, or none of those in
# use is given back for so long. What is busy waits for a lock for two seconds at most.
MAX_ATTEMPT_S = 1.0
HANGS_AFTER_S = 3.0


@dataclass(frozen=True)
class _Kept:
    connection: Any  # the driver's
    opened_on: Any


class NoPlace(Exception):
    """All connections of this process have stayed in use; `hangs` if none was given back."""

    def __init__(self, *, hangs: bool) -> None:
        super().__init__()
        self.hangs = hangs


class _Connections:
    """The connections of this process to one database."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._kept: list[_Kept] = []  # the one that was used last at the end
        self._in_use: dict[Any, threading.Thread] = {}
        self._places = 0  # of threads that are about to use one
        self._moved_at = time.monotonic()  # when one was taken or given back
        self._hung = 0  # attempts to connect that have taken long and failed
        self._failure: Exception | None = None  # the last one of these

    def take(self) -> _Kept | None:
        """Return one that is kept and not in use."""
        with self._changed:
            return self._kept.pop() if self._kept else None

    def keep(self, kept: _Kept) -> bool:
        """Keep one that is in use; return False if enough are kept already."""
        with self._changed:
            if len(self._kept) >= MAX_KEPT:
                return False
            self._kept.append(kept)
            self._in_use.pop(kept.connection, None)
            self._note_move()
            return True

    @contextmanager
    def place(self, *, limit: float, timeout_s: float) -> Iterator[_Kept | None]:
        """Wait until fewer than `limit` are in use; give one that is kept, if there is one.

        Raises `NoPlace` if they stay in use, and what another thread has met meanwhile if it has
        waited for the server in vain: this one would wait as long again.
        """
        deadline = Deadline(timeout_s)
        with self._changed:
            hung_before = self._hung
            while self._places + len(self._in_use) >= limit:
                if deadline.has_passed:
                    raise NoPlace(hangs=time.monotonic() - self._moved_at > HANGS_AFTER_S)
                self._changed.wait(min(deadline.seconds_left, RECOUNT_INTERVAL_S))
                if self._failure and self._hung > hung_before:
                    raise copy(self._failure)
                self._close_those_of_dead_threads()
            self._places += 1
            self._moved_at = attempt_at = time.monotonic()
            kept = self._kept.pop() if self._kept else None
        try:
            yield kept
        except Exception as error:
            if time.monotonic() - attempt_at > MAX_ATTEMPT_S:
                with self._changed:
                    self._hung, self._failure = self._hung + 1, copy(error)
            raise
        finally:
            with self._changed:
                self._places -= 1
                self._note_move()

    def use(self, connection: Any) -> None:
        """Count the connection until it is kept or closed."""
        with self._changed:
            self._in_use[connection] = threading.current_thread()

    def notice_close(self, connection: Any) -> None:
        with self._changed:
            self._in_use.pop(connection, None)
            self._note_move()

    def _note_move(self) -> None:
        """Wake all that wait: those that may use the reserved ones are among them."""
        self._moved_at = time.monotonic()
        self._changed.notify_all()

    def _close_those_of_dead_threads(self) -> None:
        for connection in [one for one, user in self._in_use.items() if not user.is_alive()]:
            del self._in_use[connection]
            connection.close()


_lock = threading.Lock()
_databases: dict[str, _Connections] = {}


class _ThisThread(threading.local):
    """How a thread waits for a connection."""

    max_wait_s = MAX_WAIT_S
    may_use_reserved = False


_this_thread = _ThisThread()


class KeepingDatabaseWrapper(BaseDatabaseWrapper, ABC):
    """The part that both databases share, for a class that extends Django's own."""

    Database: Any  # the driver's module
    opened_on: Any = None  # what the connection was opened on; None if it must not be kept
    max_open: float = math.inf
    max_reserved: int = 0  # of these

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection that was kept and still works, else a new one.

        Raises what the driver raises, and what `too_many_open` returns.
        """
        own, deadline = self._own(), Deadline(_this_thread.max_wait_s)
        limit = self.max_open - (0 if _this_thread.may_use_reserved else self.max_reserved)
        while True:
            try:
                with own.place(limit=limit, timeout_s=deadline.seconds_left) as kept:
                    if connection := self._connection_of(kept, conn_params):
                        if limit < math.inf:  # what is counted does not end with its thread
                            own.use(connection)
                        return connection
            except NoPlace as error:
                raise self.too_many_open(hangs=error.hangs) from None

    def close_if_unusable_or_obsolete(self) -> None:
        """Keep the connection at the end of a request, or close it. Django calls this."""
        if self.connection is None:
            return
        if self.errors_occurred:
            self.close_kept()
        if not (self._is_clean() and self._keep()):
            super().close_if_unusable_or_obsolete()

    def close_kept(self) -> None:
        """Close what is kept of this database."""
        while kept := self._own().take():
            kept.connection.close()

    @abstractmethod
    def open_connection(self, conn_params: dict[str, Any]) -> Any:
        """Open a connection as Django does, and set `opened_on`."""

    @abstractmethod
    def still_works(self, connection: Any, *, opened_on: Any) -> bool:
        """Return whether a kept connection reaches the database that a new one would reach."""

    @abstractmethod
    def is_idle(self) -> bool:
        """Return whether no transaction is open and no result is left to be read."""

    def too_many_open(self, *, hangs: bool) -> Exception:  # noqa: ARG002 - of some drivers
        """Return the driver's error for a process that has `max_open` connections in use.

        If the server `hangs`, it must not look like one that is busy.
        """
        text = f"all {self.max_open} connections of this process stay in use"
        error: Exception = self.Database.OperationalError(text)
        return error

    def _connection_of(self, kept: _Kept | None, conn_params: dict[str, Any]) -> Any:
        """Return the connection that was kept, or a new one; None if it does not work any more."""
        if kept is None:
            return self.open_connection(conn_params)
        if self.still_works(kept.connection, opened_on=kept.opened_on):
            self.opened_on = kept.opened_on
            return kept.connection
        # What broke one has broken the others: none of them is waited for as well.
        kept.connection.close()
        self.close_kept()
        return None

    def _close(self) -> None:
        connection = self.connection
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._own().notice_close(connection)

    def _is_clean(self) -> bool:
        return (
            self.opened_on is not None
            and not self.errors_occurred
            and not self.in_atomic_block
            and self.get_autocommit()
            and self.is_idle()
        )

    def _keep(self) -> bool:
        if not self._own().keep(_Kept(self.connection, self.opened_on)):
            return False
        self.connection = None
        return True

    def _own(self) -> _Connections:
        with _lock:
            return _databases.setdefault(str(self.settings_dict["NAME"]), _Connections())


@contextmanager
def reserved_connection() -> Iterator[None]:
    """Let this thread use the reserved connections as well, if it needs one meanwhile."""
    before, _this_thread.may_use_reserved = _this_thread.may_use_reserved, True
    try:
        yield
    finally:
        _this_thread.may_use_reserved = before


@contextmanager
def waiting_for_a_connection(seconds: float) -> Iterator[None]:
    """Let this thread wait for so long while all connections are in use."""
    before, _this_thread.max_wait_s = _this_thread.max_wait_s, seconds
    try:
        yield
    finally:
        _this_thread.max_wait_s = before


def release_connection() -> None:
    """Let the process keep the connection of this thread, or close it if that is not possible.

    It stays open only in the middle of a transaction.
    """
    own = connections[DEFAULT_DB_ALIAS]
    if not own.in_atomic_block:
        own.close_if_unusable_or_obsolete()
