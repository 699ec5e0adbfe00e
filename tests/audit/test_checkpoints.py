"""Signed heads kept outside the database, and what they prove when somebody forged them or it."""

import json
import multiprocessing
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from killswitch.audit import chain, checkpoints, kept_heads, signing
from killswitch.audit.chain import GENESIS, Fact, record
from killswitch.audit.checkpoints import Checkpoint, NotACheckpoint, write
from killswitch.audit.findings import CouldNotCheck, Fault, nobody
from killswitch.audit.kept_heads import Kept
from killswitch.audit.models import Kind
from killswitch.audit.verification import verify
from tests.audit.forging import TABLE, forge, recompute_from
from tests.audit.test_signing import pem_of

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def file(settings: Any, tmp_path: Path) -> Path:
    """An installation of its own, with a key."""
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = ""
    return tmp_path / checkpoints.FILE


def happen(times: int = 1) -> None:
    record(*(Fact(kind=Kind.SIGNED_IN) for _ in range(times)))


@pytest.fixture
def five(file: Path) -> list[bytes]:
    """The lines of five checkpoints over ten events."""
    for _ in range(5):
        happen(2)
        write("ROUND")
    return file.read_bytes().splitlines()


def check(file: Path | None = None, *pems: str) -> Kept:
    return kept_heads.check(file, public_pems=pems, progress=nobody)


def save(file: Path, *lines: bytes) -> None:
    file.write_bytes(b"".join(line + b"\n" for line in lines))


def assert_found(kept: Kept, seq: int | None, *words: str) -> None:
    assert kept.finding is not None
    assert kept.finding.fault is Fault.CHECKPOINT
    assert kept.finding.seq == seq
    assert all(word in kept.finding.reason for word in words), kept.finding.reason


def resigned(line: bytes, key: Ed25519PrivateKey, **changes: Any) -> bytes:
    """A line with other words, signed by somebody with a key of their own."""
    import base64

    made = replace(checkpoints.read(line), **changes)
    pem = signing._pem(key.public_key())
    made = replace(made, key_id=signing.key_id(pem))
    return replace(
        made, signature=base64.b64encode(key.sign(made.signed_text)).decode()
    ).line.encode()


def test_a_checkpoint_is_the_head_signed_and_on_the_disk(file: Path) -> None:
    happen(3)
    made = write("STARTED")
    assert made is not None
    head = chain.head()
    assert (made.seq, made.hash, made.count) == (3, head.hash, 3)
    assert made.key_id == signing.key_id()
    assert signing.verify(made.signed_text, made.signature, signing.public_key_pem())
    assert file.read_text() == made.line + "\n"
    assert checkpoints.read(file.read_bytes().strip()) == made
    assert oct(file.stat().st_mode)[-3:] == "600"


def test_the_signed_text_is_the_line_without_its_signature(five: list[bytes]) -> None:
    said = json.loads(five[0])
    signature = said.pop("signature")
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert signing.verify(text.encode(), signature, signing.public_key_pem())


def test_one_is_written_only_when_something_happened(file: Path) -> None:
    assert write("ROUND") is None
    happen()
    assert write("ROUND") is not None
    assert write("ROUND") is None
    happen()
    assert write("ROUND") is not None
    assert len(file.read_bytes().splitlines()) == 2


def test_each_line_names_the_one_before_it(five: list[bytes]) -> None:
    made = [checkpoints.read(line) for line in five]
    names = [checkpoints.digest(line) for line in five]
    assert [one.previous for one in made] == [GENESIS, *names[:-1]]


def test_it_is_told_to_the_log_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    happen()
    made = write("ROUND")
    assert made is not None
    assert made.signature in caplog.text
    assert made.hash in caplog.text


def test_true_checkpoints_are_borne_out(five: list[bytes]) -> None:
    assert check() == Kept()
    assert verify().ok


def test_a_line_that_was_edited_is_found(file: Path, five: list[bytes]) -> None:
    for name, value in asdict(checkpoints.read(five[2])).items():
        other = value + 1 if isinstance(value, int) else f"{value[:-4]}AAAA"
        changed: dict[str, Any] = {name: other}
        edited = replace(checkpoints.read(five[2]), **changed).line.encode()
        save(file, *five[:2], edited, *five[3:])
        assert check().finding is not None, name


def test_the_last_line_edited_is_found_by_its_signature(file: Path, five: list[bytes]) -> None:
    edited = replace(checkpoints.read(five[4]), at="2020-01-01T00:00:00.000000Z")
    save(file, *five[:4], edited.line.encode())
    assert_found(check(), 10, "line 5", "signature does not fit")


def test_a_line_signed_with_another_key_is_found(file: Path, five: list[bytes]) -> None:
    foreign = Ed25519PrivateKey.generate()
    save(file, *five[:4], resigned(five[4], foreign))
    assert_found(check(), 10, "line 5", "a key that is not known")
    known = signing._pem(foreign.public_key())
    assert check(None, known).finding is None


def test_a_line_under_our_name_with_the_signature_of_another_is_found(
    file: Path, five: list[bytes]
) -> None:
    forged = json.loads(resigned(five[4], Ed25519PrivateKey.generate()))
    made = Checkpoint(**(forged | {"key_id": signing.key_id()}))
    save(file, *five[:4], made.line.encode())
    assert_found(check(), 10, "signature does not fit")


def test_the_signature_of_another_line_is_found(file: Path, five: list[bytes]) -> None:
    borrowed = checkpoints.read(five[3]).signature
    save(file, *five[:4], replace(checkpoints.read(five[4]), signature=borrowed).line.encode())
    assert_found(check(), 10, "signature does not fit")


def test_a_line_without_a_signature_is_found_where_there_is_a_key(
    file: Path, five: list[bytes]
) -> None:
    bare = replace(checkpoints.read(five[4]), signature="", key_id="")
    save(file, *five[:4], bare.line.encode())
    assert_found(check(), 10, "line 5", "not signed")


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_a_line_taken_out_is_found(file: Path, five: list[bytes], gone: int) -> None:
    save(file, *five[:gone], *five[gone + 1 :])
    assert_found(check(), 2 * (gone + 2), f"line {gone + 1}", "does not follow")


def test_two_swapped_lines_are_found(file: Path, five: list[bytes]) -> None:
    save(file, five[0], five[2], five[1], *five[3:])
    assert_found(check(), 6, "line 2", "does not follow")


def test_the_last_line_taken_out_cannot_be_known_here_but_elsewhere(
    file: Path, five: list[bytes], tmp_path: Path
) -> None:
    save(file, *five[:4])
    forge(f"DELETE FROM {TABLE} WHERE seq > 8")
    assert verify().ok
    kept = tmp_path / "kept-elsewhere.jsonl"
    save(kept, five[4])
    assert_found(check(kept), 10, "event 10 is missing", "tail of the log was cut")


def test_a_single_kept_line_is_enough(five: list[bytes], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(b"\r\n" + five[2] + b"\r\n\r\n" + five[4] + b"\r\n")
    found = check(kept)
    assert found.finding is None
    assert "does not hold every checkpoint" in found.warnings[0]
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 3")
    recompute_from(3)
    assert_found(check(kept), 6, "written anew")


def test_a_head_that_is_wrong_is_told_before_a_line_after_it(file: Path, five: list[bytes]) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 1")
    recompute_from(1)
    save(file, *five[:4], b"{}")
    assert_found(check(), 2, "written anew")


def test_more_lines_than_are_looked_up_at_once_are_all_checked(
    monkeypatch: pytest.MonkeyPatch, five: list[bytes]
) -> None:
    monkeypatch.setattr(kept_heads, "AT_ONCE", 2)
    assert check().finding is None
    forge(f"UPDATE {TABLE} SET hash = %s WHERE seq = 8", ["a" * 64])
    assert_found(check(), 8, "written anew")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"not json", b"\xff\xfe", b"[1]", b'"text"', b"{" * 5000, b"x" * 10_000],
)
def test_a_line_that_is_none_is_found(file: Path, five: list[bytes], damage: bytes) -> None:
    save(file, *five[:2], damage, *five[3:])
    assert check().finding is not None
    save(file, *five, damage)
    assert check().finding is not None


def test_a_line_in_other_words_for_the_same_is_found(file: Path, five: list[bytes]) -> None:
    for spelled in (
        five[2].replace(b":", b": ", 1),
        five[2].replace(b'{"', b'{"seq":6,"', 1),
        five[2].replace(b'"seq":6', b'"seq":6.0'),
        five[2].replace(b'"seq":6', b'"seq":true'),
        five[2].replace(b'"seq":6', b'"seq":"6"'),
        five[2].replace(b'"seq":6', b'"seq":99999999999999999999'),
        five[2].replace(b'"seq":6', b'"seq":-6'),
    ):
        save(file, *five[:2], spelled, *five[3:])
        assert check().finding is not None, spelled


def test_half_a_line_left_by_a_crash_is_a_warning_and_the_next_one_bears_it_out(
    file: Path, five: list[bytes]
) -> None:
    file.write_bytes(b"\n".join([*five[:4], five[4][:100]]))
    found = check()
    assert found.finding is None
    assert "cut short" in found.warnings[0]
    happen()
    assert write("ROUND") is not None
    lines = file.read_bytes().splitlines()
    assert lines[4] == five[4][:100]
    found = check()
    assert found.finding is None
    assert "cut short" in found.warnings[0]
    save(file, *lines[:4], lines[4] + b"~", lines[5])
    assert check().finding is not None


def test_without_a_key_unsigned_lines_still_find_a_cut_tail(settings: Any, file: Path) -> None:
    settings.DATABASE_URL = "postgresql://db/killswitch"
    happen(2)
    made = write("ROUND")
    assert made is not None
    assert (made.key_id, made.signature) == ("", "")
    found = check()
    assert found.finding is None
    assert "not checked" in found.warnings[0]
    forge(f"DELETE FROM {TABLE} WHERE seq = 2")
    assert_found(check(), 2, "tail of the log was cut")


def test_signatures_are_checked_with_a_key_known_from_elsewhere(
    settings: Any, five: list[bytes]
) -> None:
    pem = signing.public_key_pem()
    settings.DATABASE_URL = "postgresql://db/killswitch"
    assert "not checked: no key" in check().warnings[0]
    assert check(None, pem) == Kept()
    foreign = signing._pem(Ed25519PrivateKey.generate().public_key())
    assert_found(check(None, foreign), 2, "a key that is not known")


def test_no_file_of_our_own_is_a_warning_and_a_named_one_that_is_missing_is_not(
    tmp_path: Path,
) -> None:
    assert "cut tail would not be noticed" in check().warnings[0]
    with pytest.raises(CouldNotCheck, match="cannot be read"):
        check(tmp_path / "elsewhere.jsonl")
    with pytest.raises(CouldNotCheck, match="cannot be read"):
        check(tmp_path)


def test_an_empty_file_proves_nothing_and_says_so(file: Path) -> None:
    file.touch()
    assert "there are no checkpoints" in check().warnings[0]


def test_a_line_that_is_written_elsewhere_is_waited_for_but_not_for_ever(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    happen()
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.1)
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
        with checkpoints._locked(checkpoints.default_file()) as file:
            last = checkpoints._last_line(file)
            head = chain.Head(seq=os.getpid() * 100 + number, hash="a" * 64)
            previous = checkpoints.digest(last) if last else GENESIS
            made = checkpoints._sign(head, occasion="ROUND", previous=previous)
            checkpoints._append(file, made.line)


def test_processes_that_write_at_once_leave_one_chain_of_lines(file: Path) -> None:
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
    made = [checkpoints.read(line) for line in lines]
    assert [one.previous for one in made[1:]] == [checkpoints.digest(one) for one in lines[:-1]]


@given(st.binary(max_size=300))
def test_no_foreign_line_is_taken_for_a_checkpoint_and_none_raises_anything_else(
    line: bytes,
) -> None:
    with pytest.raises(NotACheckpoint):
        checkpoints.read(line)


def test_the_key_of_the_environment_signs(settings: Any, file: Path) -> None:
    key = Ed25519PrivateKey.generate()
    settings.AUDIT_SIGNING_KEY = pem_of(key)
    settings.DATABASE_URL = "postgresql://db/killswitch"
    happen()
    made = write("ROUND")
    assert made is not None
    assert signing.verify(made.signed_text, made.signature, signing._pem(key.public_key()))
    assert check() == Kept()
