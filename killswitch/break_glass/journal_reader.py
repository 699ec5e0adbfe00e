"""The lines of the journal: how each is hashed and sealed, and what a reader finds to be wrong.

Each line is canonical JSON, hashed together with the line before it and sealed with this
installation's SECRET_KEY, so that a line that was edited, removed, inserted or made by someone else
shows. A second file, sealed as well, holds the hash of the newest line: without it, lines missing
from the end would not show. If they are missing when a line is added, a line GAP in front of it
keeps that on record.

A crash may leave half a line. It stays, and the next line names it by its hash.
"""

import hashlib
import hmac
import json
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, BinaryIO

from django.conf import settings

from killswitch.audit import canonical_json

HEAD_FILE = "break_glass_head.json"
FIRST = "0" * 64  # the hash before the first line
GAP = "GAP"  # lines in front of this one were missing; its data are the head that was there
SEAL_CONTEXT = b"killswitch.break_glass.journal\0"


class InvalidLine(ValueError):
    """These bytes are not a line as the journal writes it."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the journal, as it is in the file."""

    journal: str  # a random ID of the file
    host: str
    seq: int
    at: str
    software: str
    kind: str
    data: Mapping[str, Any]
    torn: str  # SHA-256 of half a line in front of this one; "" without any
    previous: str  # the hash of the line before
    hash: str
    seal: str

    @property
    def text(self) -> str:
        return canonical_json.encode(vars(self))

    @property
    def is_sealed_here(self) -> bool:
        """Return whether this installation wrote the line, with its present or an earlier key."""
        return is_seal(self.seal, of=self.hash)


class JournalReader:
    """Reads the file from where it stopped the last time, and checks what it reads.

    `faults` says, in sentences, what no process of this product can have written.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.faults: list[str] = []
        self.presses: dict[str, str] = {}  # by the nonces of their keys
        self.new_id = str(uuid.uuid4())  # of the journal, if this file is still empty
        self.half_line = b""  # at the end of the file, without its line feed
        self._foreign: list[bytes] = []  # what is not a line, since the last one
        self._inode = self._offset = 0

    @property
    def last(self) -> Line | None:
        return self.lines[-1] if self.lines else None

    def read(self, file: BinaryIO) -> None:
        """Read what has been added; start again with a file that was replaced."""
        status = os.fstat(file.fileno())
        if status.st_ino != self._inode or status.st_size < self._offset:
            self.__init__()  # type: ignore[misc]
            self._inode = status.st_ino
        file.seek(self._offset)
        *complete, self.half_line = file.read().split(b"\n")
        for raw in complete:
            self._offset += len(raw) + 1
            try:
                self._add(parse(raw))
            except InvalidLine:
                self._foreign.append(raw)

    def next_line(
        self, kind: str, data: Mapping[str, Any], *, unwritten: Sequence[Line] = ()
    ) -> Line:
        """Return the line that follows the last one, or the last of those yet to be written."""
        last = unwritten[-1] if unwritten else self.last
        foreign = [*self._foreign, self.half_line] if self.half_line else self._foreign
        columns: dict[str, Any] = {
            "journal": last.journal if last else self.new_id,
            "host": socket.gethostname(),
            "seq": last.seq + 1 if last else 1,
            "at": canonical_json.utc_text(datetime.now(UTC)),
            "software": settings.VERSION,
            "kind": kind,
            "data": data,
            "torn": "" if unwritten else _torn(foreign),
            "previous": last.hash if last else FIRST,
        }
        line_hash = digest(columns)
        return Line(**columns, hash=line_hash, seal=seal_of(line_hash, key=settings.SECRET_KEY))

    def check_end(self, head: Mapping[str, Any] | None) -> None:
        """Compare the end of the file with the head that was kept."""
        last = self.last
        if self._foreign:
            self.faults.append("The last line is not a line as it was written.")
        if self.is_cut_off(head):
            self.faults.append(_gap_text(head, last.seq if last else 0))

    def is_cut_off(self, head: Mapping[str, Any] | None) -> bool:
        """Return whether lines are missing at the end, going by the head; None if there is none."""
        last = self.last
        if last is None:
            return head is not None and (not head or head["seq"] > 0)
        return not head or last.journal != head["journal"] or last.seq < head["seq"]

    def _add(self, line: Line) -> None:
        last = self.last
        if line.torn != _torn(self._foreign):
            self.faults.append(f"Before line {line.seq} is text that is not a line as written.")
        if (line.seq, line.previous) != ((last.seq + 1, last.hash) if last else (1, FIRST)):
            self.faults.append(
                f"Before line {line.seq} a line is missing, or was edited, inserted or moved."
            )
        is_sealed = line.is_sealed_here
        if not is_sealed:
            self.faults.append(f"Line {line.seq} was not written by this installation.")
        if line.kind == GAP and is_sealed:
            self.faults.append(f"Before line {line.seq}: {_gap_text(line.data, line.seq - 1)}")
        self._foreign = []
        self.lines.append(line)
        if is_sealed and (nonce := line.data.get("nonce")):
            self.presses[str(nonce)] = str(line.data.get("press"))


def parse(raw: bytes) -> Line:
    """Return the line of these bytes, without its line feed. Raises `InvalidLine`."""
    try:
        text = raw.decode("utf-8")
        line = Line(**json.loads(text))
        types_match = isinstance(line.data, dict) and all(
            type(getattr(line, field.name)) is field.type
            for field in fields(Line)
            if field.name != "data"
        )
        if types_match and line.text == text and digest(vars(line)) == line.hash:
            return line
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidLine from error
    raise InvalidLine


def digest(columns: Mapping[str, Any]) -> str:
    """Return the hash of all columns of a line but `hash` and `seal`."""
    hashed = {name: value for name, value in columns.items() if name not in ("hash", "seal")}
    return hashlib.sha256(canonical_json.encode(hashed).encode()).hexdigest()


def seal_of(line_hash: str, *, key: str) -> str:
    """Return the proof that the line with this hash was written with this SECRET_KEY."""
    derived = hashlib.sha256(SEAL_CONTEXT + key.encode()).digest()
    return hmac.new(derived, line_hash.encode(), hashlib.sha256).hexdigest()


def is_seal(seal: str, *, of: str) -> bool:
    """Return whether this installation has sealed this hash, with its present or an earlier key."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(hmac.compare_digest(seal.encode(), seal_of(of, key=key).encode()) for key in keys)


def head_hash(head: Mapping[str, Any]) -> str:
    """Return what the head's seal is made of."""
    return hashlib.sha256(f"head {canonical_json.encode(head)}".encode()).hexdigest()


def _gap_text(head: Mapping[str, Any] | None, last_seq: int) -> str:
    if not head:
        return f"{HEAD_FILE} is missing or was changed."
    return (
        f"Lines are missing at the end: line {head['seq']} was written, the last one is line"
        f" {last_seq}."
    )


def _torn(foreign: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\n".join(foreign)).hexdigest() if foreign else ""
