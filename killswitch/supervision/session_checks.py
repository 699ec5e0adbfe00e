"""Checks of PostgreSQL's sessions: a connection pooler may change, or share, them."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper

from killswitch.supervision.checks import DATABASE, CannotStart
from killswitch.supervision.database_words import database_name, role_setting


@checks.register(DATABASE, checks.Tags.database)
def check_session(databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Check that what we ask of a session is in force: a connection pooler may drop it."""
    if not databases or connection.vendor != "postgresql":
        return
    try:
        with connection.cursor() as cursor:
            # Not the value of this moment: `prepare` changes it for its own session.
            query = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)"
            cursor.execute(query, [list(settings.POSTGRESQL_SESSION)])
            actual = dict(cursor.fetchall())
            for name, limit in settings.POSTGRESQL_LIMITS.items():
                cursor.execute("SELECT extract(epoch FROM %s::interval) * 1000", [limit])
                ((max_ms,),) = cursor.fetchall()
                if not 0 < int(actual[name]) <= max_ms:
                    yield _limit_warning(name, actual_ms=int(actual[name]))
    except OperationalError:
        return  # `check_migrations` has reported it
    if (zone := actual["TimeZone"]) != settings.POSTGRESQL_SESSION["TimeZone"]:
        text = (
            f"TimeZone is {zone} in the database {database_name()}, so each connection needs one"
            f" more statement. {_what_to_run('TimeZone')}"
        )
        yield checks.Warning(text, id="killswitch.W012")


def _limit_warning(name: str, *, actual_ms: int) -> CheckMessage:
    text = (
        f"{name} is {f'{actual_ms} ms' if actual_ms else 'off'} in the database {database_name()},"
        f" not {settings.POSTGRESQL_LIMITS[name]}, so a process that hangs can block every cancel."
        f" {_what_to_run(name)}"
    )
    return checks.Warning(text, id="killswitch.W010")


def _what_to_run(name: str) -> str:
    return (
        "A connection pooler, or options in DATABASE_URL, replaced it. With the user of"
        f" DATABASE_URL, run {role_setting(name)};"
    )


def require_own_session() -> None:
    """Raise `CannotStart` if a pooler gives the session of one connection to others meanwhile.

    The lock of `prepare` and its time limits belong to its session: others would get them.
    """
    if connection.vendor != "postgresql":
        return
    another = connection.copy()
    try:
        before, meanwhile, after = (_process(one) for one in (connection, another, connection))
    finally:
        another.close()
    # As long as both are connected, two sessions have two processes.
    if meanwhile == before or after != before:
        raise CannotStart(
            f"the database {database_name()} is reached through a connection pooler that shares"
            " sessions (pool_mode = transaction), in which it cannot be prepared. Run `manage.py"
            " prepare` with a DATABASE_URL that names PostgreSQL itself, or a pool with pool_mode ="
            " session."
        )


def _process(database: BaseDatabaseWrapper) -> int:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ((process,),) = cursor.fetchall()
        return int(process)
