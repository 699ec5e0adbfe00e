"""Makes the database itself refuse every change of the log except an append.

A migration installs the triggers, and they are checked after every later one: to alter a table of
SQLite, Django rebuilds it, which silently drops its triggers.
"""

from types import ModuleType
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from killswitch.audit.triggers import postgresql, sqlite

log = structlog.get_logger(__name__)


def problems(connection: BaseDatabaseWrapper) -> list[str]:
    """Return what is wrong with the protection, as phrases; empty if all is well.

    This includes triggers on any other table, where we have none: one could silently discard a
    request or an alarm.
    """
    backend, tables = _backend(connection), connection.introspection.django_table_names()
    with connection.cursor() as cursor:
        return [
            *backend.problems(cursor),
            *backend.foreign_triggers(cursor, tables={*tables} - {backend.TABLE}),
        ]


def index_corruption(connection: BaseDatabaseWrapper) -> str:
    """Return where tables and indexes disagree, or an empty text. Reads the whole database.

    On PostgreSQL only a superuser could cause it, and can check with `amcheck`.
    """
    with connection.cursor() as cursor:
        return sqlite.index_corruption(cursor) if connection.vendor == "sqlite" else ""


def warnings(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the weaknesses of this installation's protection; SQLite's is the same everywhere."""
    with connection.cursor() as cursor:
        return postgresql.warnings(cursor) if connection.vendor == "postgresql" else []


def log_exists(connection: BaseDatabaseWrapper) -> bool:
    """Return whether there is a log. A view in place of its table counts, and is a problem."""
    return sqlite.TABLE in connection.introspection.table_names(include_views=True)


def install(connection: BaseDatabaseWrapper) -> list[str]:
    """Install the triggers if anything is wrong; return what was wrong before."""
    backend = _backend(connection)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        before: list[str] = backend.problems(cursor) if log_exists(connection) else []
        if before:
            backend.install(cursor)
    return before


def reinstall(*, using: str, **_: Any) -> None:
    """Install the triggers again after a migration, and record it if they were missing."""
    from killswitch.audit.models import EventKind
    from killswitch.audit.recorder import recording

    try:
        before = install(transaction.get_connection(using))
        if before:
            log.warning("audit_guards_put_back", found=before)
            with recording() as record:
                record.event(EventKind.GUARDS_PUT_BACK, data={"found": before})
    except DatabaseError:
        # Verification finds it and raises an alarm; cancels must be possible meanwhile.
        log.exception("audit_guards_not_put_back")


def _backend(connection: BaseDatabaseWrapper) -> ModuleType:
    return postgresql if connection.vendor == "postgresql" else sqlite
