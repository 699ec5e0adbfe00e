"""Keeps a few database connections of a process for its threads, from one use to the next.

To open one costs several times what the queries of an idle poll cost, and to close the last one of
a SQLite database writes its whole log back. The end of a request keeps a connection, and so does
`release_connection`; one that is closed is closed. A thread holds none between two requests, nor
while it waits for the EMS, and a process keeps at most `MAX_KEPT`. A connection is checked before
it is used again. If there is none to be used, a new one is opened: no thread waits for another.
"""

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Polls come one after the other; a burst of presses or results opens connections of its own.
MAX_KEPT = 4


@dataclass(frozen=True)
class _Kept:
    connection: Any  # the driver's
    opened_on: Any


_lock = threading.Lock()
_kept: dict[str, list[_Kept]] = {}  # by database, the one that was used last at the end


class KeepingDatabaseWrapper(BaseDatabaseWrapper, ABC):
    """The part that both databases share, for a class that extends Django's own."""

    opened_on: Any = None  # what the connection was opened on; None if it must not be kept

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection that was kept and still works, else a new one."""
        while kept := self._take():
            if self.still_works(kept.connection, opened_on=kept.opened_on):
                self.opened_on = kept.opened_on
                return kept.connection
            # What broke one has broken the others: none of them is waited for as well.
            kept.connection.close()
            self.close_kept()
        return self.open_connection(conn_params)

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
        while kept := self._take():
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

    def _is_clean(self) -> bool:
        return (
            self.opened_on is not None
            and not self.errors_occurred
            and not self.in_atomic_block
            and self.get_autocommit()
            and self.is_idle()
        )

    def _keep(self) -> bool:
        with _lock:
            kept = _kept.setdefault(str(self.settings_dict["NAME"]), [])
            if len(kept) >= MAX_KEPT:
                return False
            kept.append(_Kept(self.connection, self.opened_on))
        self.connection = None
        return True

    def _take(self) -> _Kept | None:
        with _lock:
            kept = _kept.get(str(self.settings_dict["NAME"]))
            return kept.pop() if kept else None


def release_connection() -> None:
    """Let the process keep the connection of this thread, or close it if that is not possible.

    It stays open only in the middle of a transaction.
    """
    connections[DEFAULT_DB_ALIAS].close_if_unusable_or_obsolete()
