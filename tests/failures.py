"""Failures that tests cause from inside, because no request and no file can."""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from django.db import OperationalError, connection, connections
from psycopg.sql import SQL, Identifier

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


@contextmanager
def database_gone() -> Iterator[None]:
    """Take the database away from all processes, and give it back as it was.

    SQLite's file is moved away, and a directory takes its place. PostgreSQL ends all sessions, and
    refuses new ones.
    """
    name = str(connection.settings_dict["NAME"])
    connection.close()
    take_away = _sqlite_taken_away if connection.vendor == "sqlite" else _postgresql_refusing
    with take_away(name):
        yield


@contextmanager
def _sqlite_taken_away(name: str) -> Iterator[None]:
    path = Path(name)
    files = [path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")]
    moved = [file.with_name(f"{file.name}.gone") for file in files]
    # In this order, a thread that connects in between finds no database of which to write the log.
    for file, place in zip(files, moved, strict=True):
        with suppress(FileNotFoundError):
            file.rename(place)
    while not path.is_dir():
        with suppress(FileNotFoundError):
            path.unlink()  # an empty one, which a connection has just created
        with suppress(FileExistsError):
            path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        for file, place in reversed(list(zip(files, moved, strict=True))):
            with suppress(FileNotFoundError):
                place.rename(file)


@contextmanager
def _postgresql_refusing(name: str) -> Iterator[None]:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as elsewhere:
        switch = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        elsewhere.execute(switch.format(Identifier(name), SQL("false")))
        end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        elsewhere.execute(end_sessions, [name])
        try:
            yield
        finally:
            elsewhere.execute(switch.format(Identifier(name), SQL("true")))
