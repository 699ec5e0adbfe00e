"""Checkpoints: signed heads of the chain, kept outside the database.

One line of canonical JSON each, in `checkpoints.jsonl` and in the process's log. Whoever keeps one
elsewhere can tell a log whose tail was cut or that was written anew. A line holds the hash of the
line before it, so that lines taken out of the middle show as well.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import structlog
from django.conf import settings

from killswitch.audit import canonical_json, chain, signing
from killswitch.audit.chain import GENESIS, Head

FILE = "checkpoints.jsonl"
MAX_LINE_BYTES = 4096  # bytes
LOCK_TIMEOUT_S = 1.0  # seconds, for another process that is writing
LOCK_POLL_S = 0.01  # seconds

log = structlog.get_logger(__name__)


class InvalidCheckpoint(ValueError):
    """A line that no writer of checkpoints wrote."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What was known of the chain at a moment, signed unless signing is off."""

    seq: int
    hash: str
    count: int  # of the events; as numbers have no gaps, the same as `seq`
    at: str
    occasion: str
    software: str
    previous: str  # SHA-256 of the line before
    key_id: str
    signature: str

    @property
    def signed_text(self) -> bytes:
        """What the signature is over: the canonical JSON of everything else."""
        return canonical_json.encode(_without_signature(self)).encode()

    @property
    def line(self) -> str:
        return canonical_json.encode(asdict(self))


def default_path() -> Path:
    """Where this installation keeps its own."""
    return Path(settings.KILLSWITCH_HOME) / FILE


def write(occasion: str) -> Checkpoint | None:
    """Write down the head, unless the last line says the same.

    In the file it is safe on the disk when this returns. Raises `OSError` or `django.db.Error`.
    """
    with _locked(default_path()) as file:
        last = _last_line(file)
        head = chain.head()
        if _says(last, head):
            return None
        made = _sign(head, occasion=occasion, previous=digest(last) if last else GENESIS)
        _append(file, made.line)
    log.info("audit_checkpoint", **asdict(made))
    return made


def parse(line: bytes) -> Checkpoint:
    """A line as it was written. Raises `NotACheckpoint` for any other."""
    try:
        found = json.loads(line.decode("utf-8"))
        made = Checkpoint(**found)
        is_ours = all(
            type(getattr(made, field.name)) is field.type for field in fields(Checkpoint)
        ) and made.line == line.decode("utf-8")
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCheckpoint from error
    if not is_ours:
        raise InvalidCheckpoint
    return made


def digest(line: bytes) -> str:
    """The name by which the next line calls this one."""
    return hashlib.sha256(line).hexdigest()


def _sign(head: Head, *, occasion: str, previous: str) -> Checkpoint:
    unsigned: dict[str, Any] = {
        "seq": head.seq,
        "hash": head.hash,
        "count": head.seq,
        "at": canonical_json.utc_text(datetime.now(UTC)),
        "occasion": occasion,
        "software": settings.VERSION,
        "previous": previous,
        "key_id": signing.key_id(),
    }
    draft = Checkpoint(**unsigned, signature="")
    return Checkpoint(**unsigned, signature=signing.sign(draft.signed_text))


def _without_signature(made: Checkpoint) -> dict[str, Any]:
    return {name: value for name, value in asdict(made).items() if name != "signature"}


def _says(line: bytes, head: Head) -> bool:
    try:
        last = parse(line)
    except InvalidCheckpoint:
        return head.seq == 0  # there is nothing to keep yet
    return (last.seq, last.hash) == (head.seq, head.hash)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "a+b") as file:
        give_up_at = time.monotonic() + LOCK_TIMEOUT_S
        while not _lock(file):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"another process has held {path.name} for {LOCK_TIMEOUT_S:g} s")
            time.sleep(LOCK_POLL_S)
        yield file


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_line(file: BinaryIO) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_LINE_BYTES))
    return file.read().removesuffix(b"\n").rpartition(b"\n")[2]


def _append(file: BinaryIO, line: str) -> None:
    file.seek(0, os.SEEK_END)
    text = f"{line}\n"
    if _is_torn(file):
        text = f"\n{text}"  # a crash left half a line: it stays, as a line of its own
    file.write(text.encode())
    file.flush()
    os.fsync(file.fileno())


def _is_torn(file: BinaryIO) -> bool:
    size = file.tell()
    if not size:
        return False
    file.seek(size - 1)
    return file.read(1) != b"\n"
