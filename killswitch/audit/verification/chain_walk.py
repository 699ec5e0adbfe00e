# ruff: noqa: S608 - the names of table and columns are constants
"""Walks the chain from event to event, in pages: constant memory and no long transaction.

Reads the table without the models: somebody who owns the database may have put things into it
that no model would read.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from killswitch.audit.canonical_json import NotCanonical
from killswitch.audit.chain import HASHED, Head, digest_of
from killswitch.audit.verification.findings import Finding, Progress, Proof, no_progress

PAGE_SIZE = 2000  # events
TABLE = "audit_auditevent"
COLUMNS = (*HASHED, "hash")
NUMBERS = ("seq", "format")
TEXTS = tuple(name for name in COLUMNS if name not in NUMBERS)
# The text that is hashed, whatever the column holds; an impossible time gives another text.
PG_INSTANT = """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


class CorruptColumn(ValueError):
    """A column that holds something else than it should, or a time that is none."""


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """How far the chain holds, and what ended it."""

    head: Head
    events: int
    finding: Finding | None = None
    backwards: int | None = None  # the first event that is older than the one before it


def walk(*, after: Head | None = None, progress: Progress = no_progress) -> ChainResult:
    """From the first event, or from one that is known to be good, to the end or the first break."""
    start = after or Head()
    head, events, backwards, at = start, 0, None, ""
    total = _newest()
    for row in _rows(after.seq if after else None):
        finding, columns = _judge(row, before=head)
        if finding:
            return ChainResult(head=head, events=events, finding=finding, backwards=backwards)
        head = Head(seq=columns["seq"], hash=columns["hash"])
        events += 1
        if columns["at"] < at and backwards is None:
            backwards = head.seq
        at = columns["at"]
        if events % PAGE_SIZE == 0:
            progress("events", events, total - start.seq)
    return ChainResult(head=head, events=events, finding=_uncounted(head), backwards=backwards)


def still_there(head: Head) -> Finding | None:
    """Whether an event that was verified before is still what it was."""
    if head.seq == 0:
        return None
    found = hashes([head.seq]).get(head.seq)
    if found == head.hash:
        return None
    what = "is gone" if found is None else "is another one"
    return Finding(
        proof=Proof.CHAIN, seq=head.seq, reason=f"event {head.seq}, verified before, {what}"
    )


def hashes(numbers: Collection[int]) -> dict[int, str]:
    """Of these events, by their numbers, as far as they are there; whatever the column holds."""
    if not numbers:
        return {}
    column = "CAST(hash AS BLOB)" if connection.vendor == "sqlite" else "hash"
    marks = ", ".join(["%s"] * len(numbers))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT seq, {column} FROM {TABLE} WHERE seq IN ({marks})", [*numbers])
        found = cursor.fetchall()
    return {
        seq: text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for seq, text in found
    }


def _judge(row: tuple[Any, ...], *, before: Head) -> tuple[Finding | None, Mapping[str, Any]]:
    seq, expected = row[0], before.seq + 1
    if seq != expected:
        return _break(expected, _misnumbered(seq, expected=expected)), {}
    try:
        columns = _columns(row)
        calculated = digest_of({name: columns[name] for name in HASHED})
    except (CorruptColumn, NotCanonical) as error:
        return _break(seq, f"event {seq} was changed: {error}"), {}
    if calculated != columns["hash"]:
        return _break(seq, f"event {seq} was changed: its columns do not give its hash"), {}
    if columns["previous"] != before.hash:
        reason = f"event {seq} does not continue event {before.seq}: one of them was replaced"
        return _break(seq, reason), {}
    return None, columns


def _break(seq: int, reason: str) -> Finding:
    return Finding(proof=Proof.CHAIN, seq=seq, reason=reason)


def _misnumbered(seq: object, *, expected: int) -> str:
    if isinstance(seq, int) and seq > expected:
        return f"event {expected} is missing: the next one there is has number {seq}"
    return f"where event {expected} belongs, there is one with the number {seq!r:.40}"


def _uncounted(head: Head) -> Finding | None:
    """Rows that a walk from number to number would step over: one number that is there twice."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE seq <= %s", [head.seq])
        (count,) = cursor.fetchone()
        if count == head.seq:
            return None
        cursor.execute(
            f"SELECT seq FROM {TABLE} GROUP BY seq HAVING count(*) > 1 ORDER BY seq LIMIT 1"
        )
        twice = cursor.fetchone()
    seq = twice[0] if twice else head.seq
    return _break(seq, f"event {seq} is not the only one with its number")


def _newest() -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(seq) FROM {TABLE}")
        (newest,) = cursor.fetchone()
    return newest if isinstance(newest, int) else 0


def _rows(after: int | None) -> Iterator[tuple[Any, ...]]:
    while page := _page(after):
        yield from page
        after = page[-1][0]


def _page(after: int | None) -> list[tuple[Any, ...]]:
    # The first page has no lower bound: it shows numbers below one, too.
    where, parameters = ("WHERE seq > %s", [after]) if after is not None else ("", [])
    statement = f"SELECT {_selected()} FROM {TABLE} {where} ORDER BY seq LIMIT {PAGE_SIZE}"
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _selected() -> str:
    if connection.vendor == "postgresql":
        return ", ".join(PG_INSTANT if name == "at" else name for name in COLUMNS)
    # As bytes: SQLite keeps in any column whatever it is given, and reading must not fail.
    read = [f"CAST({name} AS BLOB)" if name in TEXTS else name for name in COLUMNS]
    return ", ".join([*read, f"CASE {' '.join(map(_misplaced, COLUMNS))} END"])


def _misplaced(name: str) -> str:
    """Bytes that are not kept as text are text to this walk, and to no filter of a page."""
    kind = "integer" if name in NUMBERS else "text"
    return f"WHEN typeof({name}) <> '{kind}' THEN '{name} is kept as ' || typeof({name})"


def _columns(row: tuple[Any, ...]) -> dict[str, Any]:
    columns = dict(zip(COLUMNS, row, strict=False))
    if connection.vendor == "sqlite":
        if row[-1] is not None:
            raise CorruptColumn(row[-1])
        for name in TEXTS:
            columns[name] = _text(columns[name], name=name)
        columns["at"] = _instant(columns["at"])
    if not isinstance(columns["at"], str):
        raise CorruptColumn("its time is none")
    return columns


def _text(value: bytes, *, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise CorruptColumn(f"{name} is not text") from None


def _instant(text: str) -> str:
    """The time as it is hashed, from the text that Django writes and from no other."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CorruptColumn("its time is none") from None
    if at.tzinfo or str(at) != text:
        raise CorruptColumn("its time is not written as by this program")
    return at.isoformat(timespec="microseconds") + "Z"
