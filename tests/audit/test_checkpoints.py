"""Checkpoints are signed lines outside the database, each with the hash of the line before."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit import chain, checkpoints, signing
from killswitch.audit.chain import GENESIS
from killswitch.audit.checkpoints import InvalidCheckpoint, write
from killswitch.audit.verification.checkpoint_check import CheckpointResult
from tests.audit.checkpoint_files import check, happen
from tests.audit.test_signing import pem_of

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db,
    pytest.mark.usefixtures("own_home"),
]


def test_a_checkpoint_is_the_head_signed_and_on_the_disk(file: Path) -> None:
    happen(3)
    checkpoint = write("STARTED")
    assert checkpoint is not None
    head = chain.head()
    assert (checkpoint.seq, checkpoint.hash, checkpoint.count) == (3, head.hash, 3)
    assert checkpoint.key_id == signing.key_id()
    assert signing.verify(checkpoint.signed_text, checkpoint.signature, signing.public_key_pem())
    assert file.read_text() == checkpoint.line + "\n"
    assert checkpoints.parse(file.read_bytes().strip()) == checkpoint
    assert oct(file.stat().st_mode)[-3:] == "600"


def test_the_signed_text_is_the_line_without_its_signature(five: list[bytes]) -> None:
    columns = json.loads(five[0])
    signature = columns.pop("signature")
    text = json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert signing.verify(text.encode(), signature, signing.public_key_pem())


def test_no_checkpoint_is_written_twice_for_one_head(file: Path) -> None:
    assert write("ROUND") is None
    happen()
    assert write("ROUND") is not None
    assert write("ROUND") is None
    happen()
    assert write("ROUND") is not None
    assert len(file.read_bytes().splitlines()) == 2


def test_each_line_names_the_one_before_it(five: list[bytes]) -> None:
    parsed = [checkpoints.parse(line) for line in five]
    names = [checkpoints.digest(line) for line in five]
    assert [checkpoint.previous for checkpoint in parsed] == [GENESIS, *names[:-1]]


def test_it_is_also_in_the_log_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    happen()
    checkpoint = write("ROUND")
    assert checkpoint is not None
    assert checkpoint.signature in caplog.text
    assert checkpoint.hash in caplog.text


def test_another_writer_is_waited_for_but_not_forever(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    happen()
    monkeypatch.setattr(checkpoints, "LOCK_TIMEOUT_S", 0.1)
    with file.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            write("ROUND")
    assert write("ROUND") is not None


def _write_many(home: str, ready: Any) -> None:
    """In a process of its own; the head is made up, so that no database is needed."""
    from django.conf import settings

    settings.KILLSWITCH_HOME = Path(home)
    ready.wait(30)
    for number in range(1, 20):
        head = chain.Head(seq=os.getpid() * 100 + number, hash="a" * 64)
        with (
            mock.patch.object(checkpoints, "LOCK_TIMEOUT_S", 30),
            mock.patch.object(chain, "head", return_value=head),
        ):
            assert write("ROUND")


def test_simultaneous_writers_make_one_chain_of_lines(file: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)
    running = [
        context.Process(target=_write_many, args=[str(file.parent), ready]) for _ in range(4)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    lines = file.read_bytes().splitlines()
    assert len(lines) == 4 * 19
    parsed = [checkpoints.parse(line) for line in lines]
    digests = [checkpoints.digest(line) for line in lines]
    assert [checkpoint.previous for checkpoint in parsed[1:]] == digests[:-1]


@given(st.binary(max_size=300))
def test_no_foreign_line_is_taken_for_a_checkpoint_and_none_raises_anything_else(
    line: bytes,
) -> None:
    with pytest.raises(InvalidCheckpoint):
        checkpoints.parse(line)


def test_the_key_of_the_environment_signs(settings: Any, file: Path) -> None:
    key = Ed25519PrivateKey.generate()
    settings.AUDIT_SIGNING_KEY = pem_of(key)
    settings.DATABASE_URL = "postgresql://db/killswitch"
    happen()
    checkpoint = write("ROUND")
    assert checkpoint is not None
    assert signing.verify(
        checkpoint.signed_text, checkpoint.signature, signing.encode_public_key(key.public_key())
    )
    assert check() == CheckpointResult(reach=1)
