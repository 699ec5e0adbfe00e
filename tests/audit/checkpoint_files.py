"""Writes files of checkpoints, genuine and forged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from killswitch.audit import checkpoints, signing
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import EventKind
from killswitch.audit.verification import checkpoint_check
from killswitch.audit.verification.checkpoint_check import CheckpointResult
from killswitch.audit.verification.findings import Proof, no_progress
from tests.audit.log import record


def happen(times: int = 1) -> None:
    """Record some events."""
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(times)))


def check(file: Path | None = None, *pems: str) -> CheckpointResult:
    return checkpoint_check.check(file, public_pems=pems, progress=no_progress)


def save(file: Path, *lines: bytes) -> None:
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def assert_found(result: CheckpointResult, seq: int | None, *words: str) -> None:
    assert result.finding is not None
    assert result.finding.proof is Proof.CHECKPOINT
    assert result.finding.seq == seq
    assert all(word in result.finding.reason for word in words), result.finding.reason


def resigned(line: bytes, key: Ed25519PrivateKey, **changes: Any) -> bytes:
    """Return a changed line that is signed with another key."""
    import base64

    checkpoint = replace(checkpoints.parse(line), **changes)
    pem = signing.encode_public_key(key.public_key())
    checkpoint = replace(checkpoint, key_id=signing.key_id(pem))
    signature = base64.b64encode(key.sign(checkpoint.signed_text)).decode()
    return replace(checkpoint, signature=signature).line.encode()
