# ruff: noqa: S608 - the names of table and columns are constants
"""Walks the chain from event to event, in pages: constant memory and no long transaction.

It reads the table without the models: the owner of the database may have stored values in it that
no model can read.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any

from django.db import connection

from killswitch.audit.canonical_json import MAX_INTEGER, NotCanonical
from killswitch.audit.chain import HASHED, Head, digest_of
from killswitch.audit.verification.findings import Finding, Progress, Proof, no_progress

PAGE_SIZE = 2000
TABLE = "audit_auditevent"
COLUMNS = (*HASHED, "hash")
NUMBERS = ("seq", "format")
TEXTS = tuple(name for name in COLUMNS if name not in NUMBERS)
# The canonical text of an event has its columns in the order of their names.
CANONICAL = "{" + ",".join(f'"{name}":%s' for name in sorted(HASHED)) + "}"
in_canonical_order = itemgetter(*map(COLUMNS.index, sorted(HASHED)))
SEQ, AT, PREVIOUS, HASH = map(COLUMNS.index, ("seq", "at", "previous", "hash"))
# The text that is hashed. A time that Python cannot represent gives a different text: without the
# condition, one before Christ would be written like the same one after.
PG_TIME = (
    "CASE WHEN {column} >= '0001-01-01 00:00:00+00' AND isfinite({column}) THEN"
    """ to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
    " ELSE {column}::text END"
)


class BrokenChain(Exception):
    """An event is missing, changed or in the wrong order; the arguments are its number and why."""


class CorruptColumn(ValueError):
    """A column has a value of another type or format than the product stores."""


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """How far the chain is intact, and the first break, if any."""

    head: Head
    events: int
    finding: Finding | None = None
    backwards: int | None = None  # the first event with an earlier time than the event before it


def walk(*, after: Head | None = None, progress: Progress = no_progress) -> ChainResult:
    """Verify from the first event, or after a verified one, to the end or the first break."""
    start = head = after or Head()
    events, backwards, at, finding = 0, None, "", None
    total = _newest_seq() - start.seq
    try:
        _check_head(start)
        for row in _rows(after.seq if after else None):
            values = _check_event(row, before=head)
            head = Head(seq=values[SEQ], hash=values[HASH])
            events += 1
            if values[AT] < at and backwards is None:
                backwards = head.seq
            at = values[AT]
            if events % PAGE_SIZE == 0:
                progress("events", events, total)
        _check_duplicates(head)
    except BrokenChain as broken:
        seq, reason = broken.args
        finding = Finding(proof=Proof.CHAIN, seq=seq, reason=reason)
    return ChainResult(head=head, events=events, finding=finding, backwards=backwards)


def _check_head(head: Head) -> None:
    """Raise `BrokenChain` if an event that was verified before is no longer the same."""
    current = hashes([head.seq]).get(head.seq) if head.seq else head.hash
    if current != head.hash:
        problem = "is gone" if current is None else "was replaced"
        raise BrokenChain(head.seq, f"event {head.seq}, verified before, {problem}")


def hashes(numbers: Collection[int]) -> dict[int, str]:
    """Return the hashes of these events, as far as they exist, even if the column is corrupt."""
    if not numbers:
        return {}
    column = "CAST(hash AS BLOB)" if connection.vendor == "sqlite" else "hash"
    marks = ", ".join(["%s"] * len(numbers))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT seq, {column} FROM {TABLE} WHERE seq IN ({marks})", [*numbers])
        rows = cursor.fetchall()
    return {
        seq: text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for seq, text in rows
    }


def _check_event(row: tuple[Any, ...], *, before: Head) -> Sequence[Any]:
    """Return the values of the next event in the order of `COLUMNS`. Raises `BrokenChain`."""
    seq, next_seq = row[0], before.seq + 1
    if seq != next_seq:
        event_instead = (
            f"the next event is {seq}"
            if isinstance(seq, int) and seq > next_seq
            else f"there is one with the number {seq!r:.40} instead"
        )
        raise BrokenChain(next_seq, f"event {next_seq} is missing: {event_instead}")
    try:
        values = _values(row)
        digest = _digest(values)
    except (CorruptColumn, NotCanonical) as error:
        raise BrokenChain(seq, f"event {seq} was changed: {error}") from None
    if digest != values[HASH]:
        raise BrokenChain(seq, f"event {seq} was changed: its hash does not match its columns")
    if values[PREVIOUS] != before.hash:
        raise BrokenChain(
            seq, f"event {seq} is not chained to event {before.seq}: one of them was replaced"
        )
    return values


def _digest(values: Sequence[Any]) -> str:
    """Return what `digest_of` returns, in a third of the time. Raises `NotCanonical`."""
    try:
        parts = tuple(
            encode_basestring(value) if type(value) is str else _number_text(value)
            for value in in_canonical_order(values)
        )
        return hashlib.sha256((CANONICAL % parts).encode()).hexdigest()
    except (TypeError, UnicodeEncodeError):  # a value that the product does not store
        return digest_of(dict(zip(HASHED, values, strict=False)))


def _number_text(value: object) -> str:
    if type(value) is not int or abs(value) > MAX_INTEGER:
        raise TypeError
    return str(value)


def _check_duplicates(head: Head) -> None:
    """Raise `BrokenChain` for a number of two rows: the walk may have seen only one of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE seq <= %s", [head.seq])
        if cursor.fetchone() == (head.seq,):
            return
        cursor.execute(
            f"SELECT seq FROM {TABLE} GROUP BY seq HAVING count(*) > 1 ORDER BY seq LIMIT 1"
        )
        (seq,) = cursor.fetchone() or (head.seq,)
    raise BrokenChain(seq, f"more than one event has the number {seq}")


def _newest_seq() -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(seq) FROM {TABLE}")
        (newest,) = cursor.fetchone()
    return newest if isinstance(newest, int) else 0


def _rows(after: int | None) -> Iterator[tuple[Any, ...]]:
    if connection.vendor == "postgresql":
        columns = [PG_TIME.format(column=name) if name == "at" else name for name in COLUMNS]
    else:
        # As bytes: a column of SQLite can contain any type, and reading must not fail.
        columns = [f"CAST({name} AS BLOB)" if name in TEXTS else name for name in COLUMNS]
        columns.append(f"CASE {' '.join(map(_type_problem, COLUMNS))} END")
    statement = f"SELECT {', '.join(columns)} FROM {TABLE}"
    # The first page has no lower bound, so that it also contains numbers below one.
    where, parameters = ("WHERE seq > %s", [after]) if after is not None else ("", [])
    while True:
        with connection.cursor() as cursor:
            cursor.execute(f"{statement} {where} ORDER BY seq LIMIT {PAGE_SIZE}", parameters)
            page = list(cursor.fetchall())
        if not page:
            return
        yield from page
        where, parameters = "WHERE seq > %s", [page[-1][0]]


def _type_problem(name: str) -> str:
    """Return SQL for a column of another type; it reads the same, but no filter finds it."""
    storage_class = "integer" if name in NUMBERS else "text"
    return f"WHEN typeof({name}) <> '{storage_class}' THEN '{name} is stored as ' || typeof({name})"


def _values(row: tuple[Any, ...]) -> Sequence[Any]:
    """Return the values in the order of `COLUMNS`. Raises `CorruptColumn`."""
    if connection.vendor == "postgresql":
        if not isinstance(row[AT], str):
            raise CorruptColumn("invalid timestamp")
        return row
    *columns, type_problem = row
    if type_problem is not None:
        raise CorruptColumn(type_problem)
    try:
        values = [value.decode() if type(value) is bytes else value for value in columns]
    except UnicodeDecodeError as error:
        name = COLUMNS[columns.index(error.object)]
        raise CorruptColumn(f"{name} is not text") from None
    values[AT] = _hashed_time(values[AT])
    return values


def _hashed_time(text: str) -> str:
    """Return the time as it is hashed, from the one form in which Django stores it."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CorruptColumn("invalid timestamp") from None
    if at.tzinfo or str(at) != text:
        raise CorruptColumn("its timestamp is not in the format of this program")
    return at.isoformat(timespec="microseconds") + "Z"
