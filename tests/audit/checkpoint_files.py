"""Files of checkpoints, true and forged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from killswitch.audit import checkpoints, signing
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import Kind
from killswitch.audit.verification import checkpoint_check
from killswitch.audit.verification.checkpoint_check import CheckpointResult
from killswitch.audit.verification.findings import Proof, no_progress
from tests.audit.log import record


def happen(times: int = 1) -> None:
    record(*(NewEvent(kind=Kind.SIGNED_IN) for _ in range(times)))


def check(file: Path | None = None, *pems: str) -> CheckpointResult:
    return checkpoint_check.check(file, public_pems=pems, progress=no_progress)


def save(file: Path, *lines: bytes) -> None:
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def assert_found(kept: CheckpointResult, seq: int | None, *words: str) -> None:
    assert kept.finding is not None
    assert kept.finding.proof is Proof.CHECKPOINT
    assert kept.finding.seq == seq
    assert all(word in kept.finding.reason for word in words), kept.finding.reason


def resigned(line: bytes, key: Ed25519PrivateKey, **changes: Any) -> bytes:
    """A line with other words, signed by somebody with a key of their own."""
    import base64

    made = replace(checkpoints.parse(line), **changes)
    pem = signing.encode_public_key(key.public_key())
    made = replace(made, key_id=signing.key_id(pem))
    return replace(
        made, signature=base64.b64encode(key.sign(made.signed_text)).decode()
    ).line.encode()
