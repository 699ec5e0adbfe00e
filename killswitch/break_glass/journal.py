"""The journal on this host's disk: what was cancelled while the log was not available.

Each line is canonical JSON, hashed together with the line before it and sealed with this
installation's SECRET_KEY, so that a line that was edited, removed, inserted or made by someone else
shows. A second file, sealed as well, holds the hash of the newest line: without it, lines missing
from the end would not show. If they are missing when a line is added, a line GAP in front of it
keeps that on record. Any number of processes may append at once.

A crash may leave half a line. It stays, and the next line names it by its hash.
"""

import hashlib
import hmac
import json
import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from django.conf import settings

from killswitch.audit import canonical_json
from killswitch.runtime.files import open_locked, open_regular, read_regular, replace_file

FILE = "break_glass.jsonl"
HEAD_FILE = "break_glass_head.json"
REHEARSAL_FILE = "break_glass_rehearsed_line.json"
FIRST = "0" * 64  # the hash before the first line
GAP = "GAP"  # lines in front of this one were missing; its data are the head that was there
# How long a line waits for those of other processes. After this, the cancel goes out without it.
LOCK_TIMEOUT_S = 2.0
SEAL_CONTEXT = b"killswitch.break_glass.journal\0"

log = structlog.get_logger(__name__)


class JournalUnavailable(Exception):
    """Nothing could be written: the disk is full, read-only or silent, or the file is locked."""


class NonceUsed(Exception):
    """A press with this one-use key is in the journal already."""

    def __init__(self, press: str) -> None:
        super().__init__(press)
        self.press = press


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
        return _is_seal(self.seal, of=self.hash)


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


@dataclass(kw_only=True)
class _Entry:
    """A line that a thread wants to add, and what came of it."""

    kind: str
    data: Mapping[str, Any]
    outcome: Line | JournalUnavailable | NonceUsed | None = None


class Journal:
    """The journal of this host. Its methods may be called from any number of threads at once.

    A thread that writes takes the lines of all that wait with it: after a press on many exchanges,
    one line after the other would take longer than any of them waits.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / FILE
        self._head_path = home / HEAD_FILE
        self._lock = threading.Lock()
        self._reader = JournalReader()
        self._waiting: deque[_Entry] = deque()

    def append(self, kind: str, data: Mapping[str, Any]) -> Line:
        """Add one line; it is on the disk when this returns.

        Data with the `nonce` of a line that is there raises `NonceUsed`. Raises
        `JournalUnavailable` as well.
        """
        entry = _Entry(kind=kind, data=data)
        self._waiting.append(entry)
        with self._lock:
            if entry.outcome is None:
                self._write_waiting()
        if isinstance(entry.outcome, Line):
            return entry.outcome
        assert entry.outcome  # noqa: S101 - each entry that was taken gets an outcome
        raise entry.outcome

    def rehearse(self) -> None:
        """Do all that `append` does, with a file next to the journal. Raises `JournalUnavailable`.

        A line in the journal for each rehearsal would make it longer to read in an emergency.
        """
        try:
            with self._lock, self._open():
                line = self._reader.next_line("REHEARSED", {})
                replace_file(self.path.with_name(REHEARSAL_FILE), line.text.encode())
        except OSError as error:
            raise JournalUnavailable(error.strerror or str(error)) from error

    def read(self) -> JournalReader:
        """Read the whole file, and return what is in it. Raises `OSError`."""
        reader = JournalReader()
        with suppress(FileNotFoundError), open_regular(self.path) as file:
            reader.read(file)
        reader.check_end(self._head())
        return reader

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        with open_locked(self.path, timeout_s=LOCK_TIMEOUT_S) as file:
            self._reader.read(file)
            yield file

    def _write_waiting(self) -> None:
        """Add the lines of all threads that wait, with one write, and give each its outcome."""
        entries = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self._open() as file:
                self._add(file, entries)
        except Exception as error:
            if not isinstance(error, OSError):  # such as the TimeoutError of a lock
                log.exception("journal_failed")
            reason = getattr(error, "strerror", None) or str(error)
            for entry in entries:
                entry.outcome = JournalUnavailable(reason)

    def _add(self, file: BinaryIO, entries: Sequence[_Entry]) -> None:
        presses, lines = dict(self._reader.presses), list[Line]()
        head = self._head()
        if self._reader.is_cut_off(head):
            lines.append(self._reader.next_line(GAP, head or {}))
        elif self._reader.last is None:
            # Otherwise a crash after the first line would look as if the head had been removed.
            self._keep_head(self._reader.next_line("", {}), seq=0)
        for entry in entries:
            nonce = str(entry.data.get("nonce"))
            if press := presses.get(nonce):
                entry.outcome = NonceUsed(press)
                continue
            try:
                line = self._reader.next_line(entry.kind, entry.data, unwritten=lines)
            except ValueError as error:  # the lines of other threads are written all the same
                entry.outcome = JournalUnavailable(str(error))
                continue
            lines.append(line)
            entry.outcome = line
            if "nonce" in entry.data:
                presses[nonce] = str(entry.data.get("press"))
        if lines:
            lead = b"\n" if self._reader.half_line else b""
            content = b"".join(line.text.encode() + b"\n" for line in lines)
            _write(file.fileno(), lead + content)
            self._keep_head(lines[-1])

    def _keep_head(self, line: Line, *, seq: int | None = None) -> None:
        head = {"journal": line.journal, "seq": line.seq if seq is None else seq, "hash": line.hash}
        head["seal"] = seal_of(_head_hash(head), key=settings.SECRET_KEY)
        try:
            replace_file(self._head_path, canonical_json.encode(head).encode() + b"\n")
        except OSError as error:  # the line itself is on the disk
            log.warning("journal_head_not_kept", error=error.strerror or str(error))

    def _head(self) -> Mapping[str, Any] | None:
        """Return what was kept of the newest line; empty if that was changed, None if missing."""
        try:
            head: dict[str, Any] = json.loads(read_regular(self._head_path))
            seal = head.pop("seal")
            return head if _is_seal(seal, of=_head_hash(head)) else {}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return {}


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


def _is_seal(seal: str, *, of: str) -> bool:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(hmac.compare_digest(seal.encode(), seal_of(of, key=key).encode()) for key in keys)


def _head_hash(head: Mapping[str, Any]) -> str:
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


def _write(handle: int, content: bytes) -> None:
    """Append all of the content to the disk, or nothing of it. Raises `OSError`."""
    size = os.fstat(handle).st_size
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise
