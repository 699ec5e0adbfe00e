"""Checkpoints: signed heads of the chain, kept outside the database.

Each is one line of canonical JSON, in `checkpoints.jsonl` and in the process's log. A copy kept
elsewhere shows whether the log was later cut off or rewritten. A line contains the hash of the
line before it, so that a line missing from the middle shows as well.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from django.conf import settings

from killswitch.audit import canonical_json, chain, signing
from killswitch.audit.chain import GENESIS, Head
from killswitch.runtime.files import append_line, open_locked

FILE = "checkpoints.jsonl"
MAX_LINE_BYTES = 4096
LOCK_TIMEOUT_S = 1.0  # for another process that is writing

log = structlog.get_logger(__name__)


class InvalidCheckpoint(ValueError):
    """This line is not a checkpoint as `write` writes it."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The head of the chain at one moment, signed unless signing is off."""

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
        """Return the canonical JSON of all fields except the signature, which covers it."""
        values = asdict(self)
        del values["signature"]
        return canonical_json.encode(values).encode()

    @property
    def line(self) -> str:
        return canonical_json.encode(asdict(self))


def default_path() -> Path:
    """Return the path of this installation's own checkpoints."""
    return Path(settings.KILLSWITCH_HOME) / FILE


def write(occasion: str) -> Checkpoint | None:
    """Append the head to the file, unless the last line already has it.

    The line is on the disk when this returns. Raises `OSError` or `django.db.Error`.
    """
    with open_locked(default_path(), timeout_s=LOCK_TIMEOUT_S) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_LINE_BYTES))
        last_line = file.read().removesuffix(b"\n").rpartition(b"\n")[2]
        head = chain.head()
        if _is_for(last_line, head):
            return None
        draft = Checkpoint(
            seq=head.seq,
            hash=head.hash,
            count=head.seq,
            at=canonical_json.utc_text(datetime.now(UTC)),
            occasion=occasion,
            software=settings.VERSION,
            previous=digest(last_line) if last_line else GENESIS,
            key_id=signing.key_id(),
            signature="",
        )
        checkpoint = replace(draft, signature=signing.sign(draft.signed_text))
        append_line(file, checkpoint.line.encode())
    log.info("audit_checkpoint", **asdict(checkpoint))
    return checkpoint


def parse(line: bytes) -> Checkpoint:
    """Return the checkpoint of a line as it was written. Raises `InvalidCheckpoint`."""
    try:
        text = line.decode("utf-8")
        checkpoint = Checkpoint(**json.loads(text))
        types_match = all(
            type(getattr(checkpoint, field.name)) is field.type for field in fields(Checkpoint)
        )
        if types_match and checkpoint.line == text:
            return checkpoint
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidCheckpoint from error
    raise InvalidCheckpoint


def digest(line: bytes) -> str:
    """Return the hash of a line, by which the next line refers to it."""
    return hashlib.sha256(line).hexdigest()


def _is_for(line: bytes, head: Head) -> bool:
    try:
        checkpoint = parse(line)
    except InvalidCheckpoint:
        return head.seq == 0  # an empty log needs no checkpoint
    return (checkpoint.seq, checkpoint.hash) == (head.seq, head.hash)
