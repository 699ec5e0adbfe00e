"""Has the database itself refuse every change of the log but an append.

Put up by a migration, and put back after every later one: on SQLite Django rebuilds a table to
alter it, and its triggers are gone without a word.
"""

from types import ModuleType
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from killswitch.audit.triggers import postgresql, sqlite

log = structlog.get_logger(__name__)


def problems(connection: BaseDatabaseWrapper) -> list[str]:
    """What is wrong with the guards, in words; nothing when they stand.

    And what stands before any other table, where nothing of ours does: it would swallow a press,
    or an alarm, in silence, or take it away when somebody signs in.
    """
    room, tables = _of(connection), connection.introspection.django_table_names()
    with connection.cursor() as cursor:
        return [
            *room.problems(cursor),
            *room.foreign_triggers(cursor, tables={*tables} - {room.TABLE}),
        ]


def index_corruption(connection: BaseDatabaseWrapper) -> str:
    """Where the database shows some readers what it hides from others; reads all of it."""
    with connection.cursor() as cursor:
        return str(_of(connection).index_corruption(cursor))


def warnings(connection: BaseDatabaseWrapper) -> list[str]:
    """What makes the guards weaker than they could be."""
    with connection.cursor() as cursor:
        return list(_of(connection).warnings(cursor))


def install(connection: BaseDatabaseWrapper) -> list[str]:
    """Put up what does not stand as it should; returns what was wrong before."""
    room = _of(connection)
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        found: list[str] = room.problems(cursor) if room.exists(cursor) else []
        if found:
            room.install(cursor)
    return found


def reinstall(*, using: str, **_: Any) -> None:
    """After migrations: put the guards back, and let the log say so if they were down."""
    from killswitch.audit.chain import NewEvent, record
    from killswitch.audit.models import Kind

    try:
        found = install(transaction.get_connection(using))
        if found:
            log.warning("audit_guards_put_back", found=found)
            record(NewEvent(kind=Kind.GUARDS_PUT_BACK, data={"found": found}))
    except DatabaseError:
        # Verification finds it and raises an alarm; kills must be possible meanwhile.
        log.exception("audit_guards_not_put_back")


def _of(connection: BaseDatabaseWrapper) -> ModuleType:
    return postgresql if connection.vendor == "postgresql" else sqlite
