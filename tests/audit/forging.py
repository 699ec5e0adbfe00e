"""Forges the log as the database's owner could: removes the triggers and changes any row."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.db import DatabaseError, connection, transaction

from killswitch.audit.triggers import postgresql, sqlite

TABLE = "audit_auditevent"
COLUMNS = (
    "seq",
    "at",
    "format",
    "software",
    "kind",
    "actor",
    "role",
    "exchange_id",
    "request_id",
    "status",
    "reject_reason",
    "data",
    "previous",
    "hash",
)


def lift(vendor: str) -> list[str]:
    """Return statements that disable the triggers."""
    if vendor == "postgresql":
        return [f"ALTER TABLE {TABLE} DISABLE TRIGGER USER"]
    return [f"DROP TRIGGER IF EXISTS {name}" for name in sqlite.TRIGGERS]


def put_back(vendor: str) -> list[str]:
    """Return statements that enable the triggers exactly as they were."""
    if vendor == "postgresql":
        names = [trigger.name for trigger in postgresql.triggers("public")]
        return [f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {name}" for name in names]
    return list(sqlite.TRIGGERS.values())


@contextmanager
def guards_off() -> Iterator[Any]:
    """Yield a cursor that may change the log; afterwards the triggers look untouched."""
    with connection.cursor() as cursor:
        for statement in lift(connection.vendor):
            cursor.execute(statement)
        try:
            yield cursor
        finally:
            for statement in put_back(connection.vendor):
                cursor.execute(statement)


def forge(statement: str, parameters: Sequence[Any] = ()) -> None:
    """Execute one statement without the triggers."""
    with guards_off() as cursor:
        cursor.execute(statement, list(parameters))


@contextmanager
def log_away() -> Iterator[None]:
    """Rename the table of events away; afterwards it is as before."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO moved")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE moved RENAME TO {TABLE}")
            if connection.vendor == "sqlite":  # which has rewritten the text of its triggers
                for statement in (*lift("sqlite"), *put_back("sqlite")):
                    cursor.execute(statement)


def row(seq: int) -> dict[str, Any]:
    """Return an event as the database stores it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE seq = %s", [seq])
        return dict(zip(COLUMNS, cursor.fetchone(), strict=True))


def insert(event: dict[str, Any]) -> None:
    """Insert an event with any number."""
    marks = ", ".join(["%s"] * len(COLUMNS))
    forge(
        f"INSERT INTO {TABLE} ({', '.join(COLUMNS)}) VALUES ({marks})",
        [event[name] for name in COLUMNS],
    )


def rehash(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with the right hash for its columns, by the published rules."""
    columns = {name: event[name] for name in COLUMNS if name != "hash"}
    at = datetime.fromisoformat(str(event["at"]))
    columns["at"] = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return event | {"hash": hashlib.sha256(text.encode()).hexdigest()}


def recompute_from(seq: int) -> None:
    """Recompute the chain from this event on, by the published rules."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT seq FROM {TABLE} WHERE seq >= %s ORDER BY seq", [seq])
        numbers = [number for (number,) in cursor.fetchall()]
    previous = row(numbers[0])["previous"]
    for number in numbers:
        event = rehash(row(number) | {"previous": previous})
        forge(
            f"UPDATE {TABLE} SET previous = %s, hash = %s WHERE seq = %s",
            [previous, event["hash"], number],
        )
        previous = event["hash"]


@contextmanager
def constraints_off(table: str = TABLE) -> Iterator[None]:
    """Remove the table's own constraints; this is rolled back with the test."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(
                "SELECT quote_ident(conname) FROM pg_constraint"
                " WHERE contype IN ('p', 'u', 'c') AND conrelid = %s::regclass",
                [table],
            )
            for (name,) in cursor.fetchall():
                with suppress(DatabaseError), transaction.atomic():
                    cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        yield
        return
    with connection.cursor() as cursor:
        if table == TABLE:
            cursor.execute(f"CREATE TABLE forged AS SELECT * FROM {TABLE}")
            cursor.execute(f"DROP TABLE {TABLE}")
            cursor.execute(f"ALTER TABLE forged RENAME TO {TABLE}")
            for statement in put_back("sqlite"):
                cursor.execute(statement)
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        yield
        cursor.execute("PRAGMA ignore_check_constraints = OFF")


@contextmanager
def index_that_leaves_out(index: str, condition: str) -> Iterator[None]:
    """Make an index of SQLite that lacks these rows, declared as if it had all of them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [index])
        (declared,) = cursor.fetchone()
        cursor.execute(f"DROP INDEX {index}")
        cursor.execute(f"{declared} WHERE NOT ({condition})")
        _declare(cursor, index, declared)
        try:
            yield
        finally:
            cursor.execute(f"DROP INDEX {index}")
            cursor.execute(declared)


@contextmanager
def row_past_the_primary_key(event: dict[str, Any]) -> Iterator[None]:
    """Insert a second row with a number, unknown to the primary key of SQLite."""
    with _keys_hidden(TABLE):
        insert(event)
    yield


@contextmanager
def uniqueness_off(table: str) -> Iterator[None]:
    """Make the table accept two rows with one key; this is rolled back with the test."""
    off = constraints_off if connection.vendor == "postgresql" else _keys_hidden
    with off(table):
        yield


@contextmanager
def _keys_hidden(table: str) -> Iterator[None]:
    names = f"name LIKE 'sqlite_autoindex_{table}%%'"
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
        (declared,) = cursor.fetchone()
        bare = re.sub(r", CONSTRAINT \S+ UNIQUE \(.*?\)", "", declared)
        bare = re.sub(" UNIQUE| PRIMARY KEY(?! AUTOINCREMENT)", "", bare)
        cursor.execute("DROP TABLE IF EXISTS temp.hidden")
        cursor.execute(f"CREATE TEMP TABLE hidden AS SELECT * FROM sqlite_master WHERE {names}", [])
        _write_schema(cursor, f"DELETE FROM sqlite_master WHERE {names}")
        _declare(cursor, table, bare)
        try:
            yield
        finally:
            _declare(cursor, table, declared)
            _write_schema(cursor, "INSERT INTO sqlite_master SELECT * FROM hidden")


@contextmanager
def declared_without_types() -> Iterator[None]:
    """Declare the columns of the log without types, so that SQLite converts no value."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [TABLE])
        (declared,) = cursor.fetchone()
        bare = declared
        for words in ("bigint", "smallint unsigned"):
            bare = bare.replace(f" {words} NOT NULL", " NOT NULL")
        _declare(cursor, TABLE, bare)
        try:
            yield
        finally:
            _declare(cursor, TABLE, declared)


def _declare(cursor: Any, name: str, text: str) -> None:
    quoted = text.replace("'", "''").replace("%", "%%")
    _write_schema(cursor, f"UPDATE sqlite_master SET sql = '{quoted}' WHERE name = '{name}'")


def _write_schema(cursor: Any, statement: str) -> None:
    cursor.execute("PRAGMA writable_schema = ON")
    cursor.execute(statement, [])
    cursor.execute("PRAGMA writable_schema = RESET")
