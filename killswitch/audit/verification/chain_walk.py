# ruff: noqa: S608 - the names of table and columns are constants
"""Walks the chain from event to event, in pages: constant memory and no long transaction.

It reads the table without the models: the owner of the database may have stored values in it that
no model can read.

A page is first checked column by column, which is fast and can only pass. A page that does not pass
is read again and checked event by event, and that alone decides what is wrong, if anything.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from json.encoder import encode_basestring
from operator import le, methodcaller
from typing import Any

from django.db import OperationalError, connection

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
SEQ, AT, PREVIOUS, HASH = map(COLUMNS.index, ("seq", "at", "previous", "hash"))
USUAL_TIME = len("2026-11-22 08:00:00.000000")  # as SQLite has it, unless the second is whole
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
    events: int = 0
    newest_at: str = ""  # as it is hashed
    finding: Finding | None = None
    backwards: int | None = None  # the first event with an earlier time than the event before it

    def after(self, values: Sequence[Any], *, events: int = 1) -> "ChainResult":
        """Return the result after one more event with these values, or after so many."""
        seq, at = values[SEQ], values[AT]
        is_first_backwards = self.backwards is None and at < self.newest_at
        return replace(
            self,
            head=Head(seq=seq, hash=values[HASH]),
            events=self.events + events,
            newest_at=at,
            backwards=seq if is_first_backwards else self.backwards,
        )


def walk(*, after: Head | None = None, progress: Progress = no_progress) -> ChainResult:
    """Verify from the first event, or after a verified one, to the end or the first break."""
    start = after or Head()
    result = ChainResult(head=start)
    # The first page has no lower bound, so that it also contains numbers below one.
    last = after.seq if after else None
    total = _newest_seq() - start.seq
    is_plain = _has_plain_texts()
    try:
        _check_head(start)
        while True:
            page = _read_plainly(last) if is_plain else None
            if page and (newest := _newest_if_intact(page, before=result)):
                result = result.after(newest, events=len(page))
            elif page := _read(last):
                for row in page:
                    result = result.after(_check_event(row, before=result.head))
            else:
                break
            last = result.head.seq
            if result.events % PAGE_SIZE == 0:
                progress("events", result.events, total)
        _check_duplicates(result.head)
    except BrokenChain as broken:
        seq, reason = broken.args
        result = replace(result, finding=Finding(proof=Proof.CHAIN, seq=seq, reason=reason))
    return result


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
        digest = digest_of(dict(zip(HASHED, values, strict=False)))
    except (CorruptColumn, NotCanonical) as error:
        raise BrokenChain(seq, f"event {seq} was changed: {error}") from None
    if digest != values[HASH]:
        raise BrokenChain(seq, f"event {seq} was changed: its hash does not match its columns")
    if values[PREVIOUS] != before.hash:
        raise BrokenChain(
            seq, f"event {seq} is not chained to event {before.seq}: one of them was replaced"
        )
    return values


def _newest_if_intact(
    page: Sequence[tuple[Any, ...]], *, before: ChainResult
) -> Sequence[Any] | None:
    """Return the values of the last event if all events of this page continue the chain.

    Return None if anything is unusual, even if it is allowed, such as an earlier time.
    """
    columns: list[Sequence[Any]] = list(zip(*page, strict=True))
    for name, column in zip(COLUMNS, columns, strict=True):
        if {*map(type, column)} != {int if name in NUMBERS else str}:
            return None
    try:
        columns[AT] = times = _hashed_times(columns[AT])
        if columns[HASH] != tuple(_digests(columns)):
            return None
    except (ValueError, NotCanonical):
        return None
    first = before.head.seq + 1
    is_continued = (
        columns[SEQ] == tuple(range(first, first + len(page)))
        and columns[PREVIOUS] == (before.head.hash, *columns[HASH][:-1])
        and all(map(le, chain([before.newest_at], times), times))
    )
    return [column[-1] for column in columns] if is_continued else None


def _digests(columns: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield what `digest_of` returns for each event, in a fraction of the time.

    Raises `NotCanonical`. One event at a time, as its data may be large.
    """
    texts = []
    for name in sorted(HASHED):
        column = columns[COLUMNS.index(name)]
        if name in NUMBERS and max(map(abs, column)) > MAX_INTEGER:
            raise NotCanonical(name)
        texts.append(map(str if name in NUMBERS else encode_basestring, column))
    canonical = map(CANONICAL.__mod__, zip(*texts, strict=True))
    digests = map(hashlib.sha256, map(str.encode, canonical))
    return map(methodcaller("hexdigest"), digests)


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


def _has_plain_texts() -> bool:
    """Return False for a file of SQLite that was rewritten with another encoding of texts."""
    if connection.vendor != "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA encoding")
        return bool(cursor.fetchone() == ("UTF-8",))


def _read_plainly(after: int | None) -> Sequence[tuple[Any, ...]] | None:
    """Return the next page with every value in the type in which it is stored.

    Return None if a text cannot be read.
    """
    if connection.vendor == "postgresql":
        return _read(after)
    try:
        # The sign hides the declared type, by which Django would convert the value.
        return _select([f"+{name}" for name in COLUMNS], after=after)
    except OperationalError:
        return None


def _read(after: int | None) -> Sequence[tuple[Any, ...]]:
    """Return the next page, whatever it contains."""
    if connection.vendor == "postgresql":
        columns = [PG_TIME.format(column=name) if name == "at" else name for name in COLUMNS]
    else:
        # As bytes: a column of SQLite can contain any type, and reading must not fail.
        columns = [f"CAST({name} AS BLOB)" if name in TEXTS else name for name in COLUMNS]
        columns.append(f"CASE {' '.join(map(_type_problem, COLUMNS))} END")
    return _select(columns, after=after)


def _select(columns: Sequence[str], *, after: int | None) -> Sequence[tuple[Any, ...]]:
    where, parameters = ("WHERE seq > %s", [after]) if after is not None else ("", [])
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(columns)} FROM {TABLE} {where} ORDER BY seq LIMIT {PAGE_SIZE}",
            parameters,
        )
        return list(cursor.fetchall())


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


def _hashed_times(texts: Sequence[str]) -> Sequence[str]:
    """Return what `_hashed_time` returns for the usual times. Raises `ValueError` for others."""
    if connection.vendor == "postgresql":
        return texts
    if {*map(len, texts)} != {USUAL_TIME} or (
        *map(str, map(datetime.fromisoformat, texts)),
    ) != texts:
        raise ValueError
    return tuple(f"{text[:10]}T{text[11:]}Z" for text in texts)
