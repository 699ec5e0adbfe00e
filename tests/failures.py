"""Failures that tests cause from inside, because no request and no file can."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from django.db import OperationalError, connection, connections

DISK_FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def failing(function: str, error: Exception = DISK_FULL) -> Iterator[None]:
    """Let every call of a function, such as `os.fsync`, raise the error."""

    def fail(*_args: object, **_options: object) -> NoReturn:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, fail)
        yield


@contextmanager
def full_log(error: type[Exception] = OperationalError) -> Iterator[None]:
    """Let the audit log take no event."""
    with failing("killswitch.audit.appending.append", error("the disk is full")):
        yield


@contextmanager
def locked_sqlite() -> Iterator[None]:
    """Hold the write lock of the SQLite database."""
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


@contextmanager
def commits(replacement: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Call `replacement` with the real commit instead of each commit."""
    wrapper = type(connections["default"])
    commit = wrapper.commit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrapper, "commit", lambda self: replacement(lambda: commit(self)))
        yield


def commit_without_answer(commit: Callable[[], None]) -> None:
    """Commit, and lose the answer."""
    commit()
    lose_connection()


def lose_connection(*_: Any) -> None:
    """Fail like a database that is gone."""
    raise OperationalError("the server closed the connection")
