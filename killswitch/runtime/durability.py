"""Commits that need not be on the disk at once: heartbeats, and other rows that replace themselves.

After a crash of the database's machine up to half a second of them may be missing. They are never
evidence: what proves something, or tells a process what to do, is committed as usual.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def without_flush() -> Iterator[None]:
    """Open a transaction whose commit does not wait for the disk; others stay as they are."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = NORMAL")
            try:
                with transaction.atomic():
                    yield
            finally:
                cursor.execute("PRAGMA synchronous = FULL")
    else:
        with transaction.atomic():
            commit_without_flush()
            yield


def commit_without_flush() -> None:
    """Let the open transaction not wait for the disk. On SQLite, which cannot, it waits."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit TO OFF")
