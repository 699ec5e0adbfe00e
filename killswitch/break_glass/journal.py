"""The journal on this host's disk: what was cancelled while the log was not available.

Any number of processes and threads may append at once. What a line is, is in `journal_reader`.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import structlog
from django.conf import settings

from killswitch.audit import canonical_json
from killswitch.break_glass.journal_reader import (
    GAP,
    HEAD_FILE,
    JournalReader,
    Line,
    head_hash,
    is_seal,
    seal_of,
)
from killswitch.runtime.files import open_locked, open_regular, read_regular, replace_file

FILE = "break_glass.jsonl"
REHEARSAL_FILE = "break_glass_rehearsed_line.json"
# How long a line waits for those of other processes. After this, the cancel goes out without it.
LOCK_TIMEOUT_S = 2.0
# A disk that hangs holds the first cancel up for this long, and later ones not at all.
MAX_WAIT_S = 2.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


class JournalUnavailable(Exception):
    """Nothing could be written: the disk is full, read-only or silent, or the file is locked."""


class NonceUsed(Exception):
    """A press with this one-use key is in the journal already."""

    def __init__(self, press: str) -> None:
        super().__init__(press)
        self.press = press


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
        head["seal"] = seal_of(head_hash(head), key=settings.SECRET_KEY)
        try:
            replace_file(self._head_path, canonical_json.encode(head).encode() + b"\n")
        except OSError as error:  # the line itself is on the disk
            log.warning("journal_head_not_kept", error=error.strerror or str(error))

    def _head(self) -> Mapping[str, Any] | None:
        """Return what was kept of the newest line; empty if that was changed, None if missing."""
        try:
            head: dict[str, Any] = json.loads(read_regular(self._head_path))
            seal = head.pop("seal")
            return head if is_seal(seal, of=head_hash(head)) else {}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return {}


class TimedJournal:
    """A journal that gives up on a disk that does not respond."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._hanging: threading.Thread | None = None

    def append(self, kind: str, data: Mapping[str, Any]) -> Line:
        """Add one line within `MAX_WAIT_S`. Raises `JournalUnavailable` and `NonceUsed`."""
        return self._in_time(lambda: self._journal.append(kind, data))

    def rehearse(self) -> None:
        """Do all that `append` does but add the line. Raises `JournalUnavailable`."""
        self._in_time(self._journal.rehearse)

    def _in_time(self, work: Callable[[], T]) -> T:
        if self._hanging and self._hanging.is_alive():
            raise JournalUnavailable("the disk does not respond")
        results: list[T] = []
        errors: list[Exception] = []

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001 - raised by the caller
                errors.append(error)

        thread = threading.Thread(target=run, name="journal", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise JournalUnavailable("this machine has no thread left") from error
        thread.join(MAX_WAIT_S)
        if results:
            return results[0]
        if not errors:
            self._hanging = thread
            raise JournalUnavailable("the disk does not respond")
        failure = errors[0]
        if isinstance(failure, JournalUnavailable | NonceUsed):
            raise failure
        log.error("journal_failed", exc_info=failure)
        raise JournalUnavailable(f"{type(failure).__name__}: {failure}") from failure


def host_journal() -> TimedJournal:
    """Return the journal of this host, the same object for all threads of this process."""
    return _host_journal(settings.KILLSWITCH_HOME)


@cache
def _host_journal(home: Path) -> TimedJournal:
    return TimedJournal(Journal(home))


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
