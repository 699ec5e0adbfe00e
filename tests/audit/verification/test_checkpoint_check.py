"""Forged checkpoints and forged logs are found by the checkpoints."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from killswitch.audit import checkpoints, signing
from killswitch.audit.chain import Head
from killswitch.audit.checkpoints import Checkpoint, write
from killswitch.audit.verification.checkpoint_check import CheckpointResult
from killswitch.audit.verification.findings import VerificationImpossible
from killswitch.audit.verification.verify import verify, verify_newest
from tests.audit.checkpoint_files import assert_found, check, happen, resigned, save
from tests.audit.forging import TABLE, forge, recompute_from

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db,
    pytest.mark.usefixtures("own_home"),
]


def test_genuine_checkpoints_verify(five: list[bytes]) -> None:
    assert check() == CheckpointResult(reach=10)
    assert verify().ok


def test_a_line_that_was_edited_is_found(file: Path, five: list[bytes]) -> None:
    for name, value in asdict(checkpoints.parse(five[2])).items():
        other = value + 1 if isinstance(value, int) else f"{value[:-4]}AAAA"
        changed: dict[str, Any] = {name: other}
        edited = replace(checkpoints.parse(five[2]), **changed).line.encode()
        save(file, *five[:2], edited, *five[3:])
        assert check().finding is not None, name


def test_the_last_line_edited_is_found_by_its_signature(file: Path, five: list[bytes]) -> None:
    edited = replace(checkpoints.parse(five[4]), at="2020-01-01T00:00:00.000000Z")
    save(file, *five[:4], edited.line.encode())
    assert_found(check(), 10, "line 5", "signature is invalid")


def test_a_line_signed_with_another_key_is_found(file: Path, five: list[bytes]) -> None:
    foreign = Ed25519PrivateKey.generate()
    save(file, *five[:4], resigned(five[4], foreign))
    assert_found(check(), 10, "line 5", "an unknown key")
    known = signing.encode_public_key(foreign.public_key())
    assert check(None, known).finding is None


def test_a_line_under_our_name_with_the_signature_of_another_is_found(
    file: Path, five: list[bytes]
) -> None:
    forged = json.loads(resigned(five[4], Ed25519PrivateKey.generate()))
    made = Checkpoint(**(forged | {"key_id": signing.key_id()}))
    save(file, *five[:4], made.line.encode())
    assert_found(check(), 10, "signature is invalid")


def test_the_signature_of_another_line_is_found(file: Path, five: list[bytes]) -> None:
    borrowed = checkpoints.parse(five[3]).signature
    save(file, *five[:4], replace(checkpoints.parse(five[4]), signature=borrowed).line.encode())
    assert_found(check(), 10, "signature is invalid")


def test_a_line_without_a_signature_is_found_where_there_is_a_key(
    file: Path, five: list[bytes]
) -> None:
    bare = replace(checkpoints.parse(five[4]), signature="", key_id="")
    save(file, *five[:4], bare.line.encode())
    assert_found(check(), 10, "line 5", "not signed")


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_a_line_taken_out_is_found(file: Path, five: list[bytes], gone: int) -> None:
    save(file, *five[:gone], *five[gone + 1 :])
    assert_found(check(), 2 * (gone + 2), f"line {gone + 1}", "does not follow")


def test_two_swapped_lines_are_found(file: Path, five: list[bytes]) -> None:
    save(file, five[0], five[2], five[1], *five[3:])
    assert_found(check(), 6, "line 2", "does not follow")


def test_a_removed_last_line_is_found_only_by_a_copy_kept_elsewhere(
    file: Path, five: list[bytes], tmp_path: Path
) -> None:
    save(file, *five[:4])
    forge(f"DELETE FROM {TABLE} WHERE seq > 8")
    assert verify().ok
    kept = tmp_path / "kept-elsewhere.jsonl"
    save(kept, five[4])
    assert_found(check(kept), 10, "event 10 is missing", "end of the log was cut off")


def test_a_single_kept_line_is_enough(five: list[bytes], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(b"\xef\xbb\xbf\r\n" + five[2] + b"\r\n\r\n" + five[4] + b"\r\n")
    result = check(kept)
    assert result.finding is None
    assert "does not contain every checkpoint" in result.warnings[0]
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 3")
    recompute_from(3)
    assert_found(check(kept), 6, "rewritten")


def test_a_hash_that_is_not_text_is_a_finding_and_not_an_error(
    five: list[bytes],
) -> None:
    if connection.vendor == "sqlite":  # PostgreSQL's types do not let it in
        forge(f"UPDATE {TABLE} SET hash = CAST(x'fffe' AS TEXT) WHERE seq = 10")
        assert_found(check(), 10, "rewritten")
        for verification in (verify(), verify_newest(Head(seq=10, hash="a" * 64))):
            assert verification.first is not None
            assert verification.first_bad_seq == 10


def test_a_wrong_head_is_reported_before_a_later_line(file: Path, five: list[bytes]) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 1")
    recompute_from(1)
    save(file, *five[:4], b"{}")
    assert_found(check(), 2, "rewritten")


@pytest.mark.usefixtures("small_batches")
def test_all_batches_of_lines_are_checked(five: list[bytes]) -> None:
    assert check().finding is None
    forge(f"UPDATE {TABLE} SET hash = %s WHERE seq = 8", ["a" * 64])
    assert_found(check(), 8, "rewritten")


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b"not json", b"\xff\xfe", b"[1]", b'"text"', b"{" * 5000, b"x" * 10_000],
)
def test_a_line_that_is_not_a_checkpoint_is_found(
    file: Path, five: list[bytes], damage: bytes
) -> None:
    save(file, *five[:2], damage, *five[3:])
    assert check().finding is not None
    save(file, *five, damage)
    assert check().finding is not None


def test_a_line_in_another_spelling_is_found(file: Path, five: list[bytes]) -> None:
    for spelling in (
        five[2].replace(b":", b": ", 1),
        five[2].replace(b'{"', b'{"seq":6,"', 1),
        five[2].replace(b'"seq":6', b'"seq":6.0'),
        five[2].replace(b'"seq":6', b'"seq":true'),
        five[2].replace(b'"seq":6', b'"seq":"6"'),
        five[2].replace(b'"seq":6', b'"seq":99999999999999999999'),
        five[2].replace(b'"seq":6', b'"seq":-6'),
    ):
        save(file, *five[:2], spelling, *five[3:])
        assert check().finding is not None, spelling


def test_half_a_line_left_by_a_crash_is_a_warning(file: Path, five: list[bytes]) -> None:
    file.write_bytes(b"\n".join([*five[:4], five[4][:100]]))
    result = check()
    assert result.finding is None
    assert "cut short" in result.warnings[0]
    happen()
    assert write("ROUND") is not None
    lines = file.read_bytes().splitlines()
    assert lines[4] == five[4][:100]
    result = check()
    assert result.finding is None
    assert "cut short" in result.warnings[0]
    save(file, *lines[:4], lines[4] + b"~", lines[5])
    assert check().finding is not None


def test_without_a_key_unsigned_lines_still_find_a_cut_tail(settings: Any, file: Path) -> None:
    settings.DATABASE_URL = "postgresql://db/killswitch"
    happen(2)
    made = write("ROUND")
    assert made is not None
    assert (made.key_id, made.signature) == ("", "")
    result = check()
    assert result.finding is None
    assert "not checked" in result.warnings[0]
    forge(f"DELETE FROM {TABLE} WHERE seq = 2")
    assert_found(check(), 2, "end of the log was cut off")


def test_signatures_are_checked_with_a_key_known_from_elsewhere(
    settings: Any, five: list[bytes]
) -> None:
    pem = signing.public_key_pem()
    settings.DATABASE_URL = "postgresql://db/killswitch"
    assert "not checked: no key is available" in check().warnings[0]
    assert check(None, pem) == CheckpointResult(reach=10)
    foreign = signing.encode_public_key(Ed25519PrivateKey.generate().public_key())
    assert_found(check(None, foreign), 2, "an unknown key")


def test_verifying_creates_no_key_and_warns_about_unchecked_signatures(
    own_home: Path, five: list[bytes], file: Path
) -> None:
    """An auditor should get a copy without the private key."""
    pem = signing.public_key_pem()
    key = own_home / signing.KEY_FILE
    key.unlink()
    signing._from_file.cache_clear()
    result = check()
    assert (result.finding, result.reach) == (None, 10)
    assert "no key is available; give the public key with --public-key" in result.warnings[0]
    assert verify().ok
    assert not key.exists()
    assert check(None, pem) == CheckpointResult(reach=10)
    save(file, *five[:4], resigned(five[4], Ed25519PrivateKey.generate()))
    assert_found(check(None, pem), 10, "an unknown key")
    assert not key.exists()


def test_a_missing_own_file_is_a_warning_and_a_missing_named_file_an_error(
    tmp_path: Path,
) -> None:
    assert "a truncated log would go unnoticed" in check().warnings[0]
    with pytest.raises(VerificationImpossible, match="cannot be read"):
        check(tmp_path / "elsewhere.jsonl")
    with pytest.raises(VerificationImpossible, match="cannot be read"):
        check(tmp_path)


def test_an_overwritten_file_is_found_or_warned_about(file: Path) -> None:
    for junk in (b"\0" * 5000, b"x" * 1_000_000):
        file.write_bytes(junk)
        assert_found(check(), None, "line 1 of the checkpoints is not a checkpoint")
    file.write_bytes(b"\0" * 300)
    assert "there are no checkpoints" in check().warnings[1]


def test_an_empty_file_is_a_warning(file: Path) -> None:
    file.touch()
    assert "there are no checkpoints" in check().warnings[0]


def test_old_events_without_a_checkpoint_are_a_warning(file: Path, five: list[bytes]) -> None:
    """A file cut to its first lines verifies even if later events were rewritten."""
    save(file, *five[:2])
    assert check() == CheckpointResult(reach=4)  # the others are recent
    forge(f"UPDATE {TABLE} SET at = {_AGES_AGO[connection.vendor]} WHERE seq > 4")
    recompute_from(5)
    result = check()
    assert (result.finding, result.reach) == (None, 4)
    assert "events from 5 on have no checkpoint" in result.warnings[0]
    assert verify().kept_seq == 4


def test_old_events_with_a_checkpoint_are_no_warning(file: Path, five: list[bytes]) -> None:
    file.unlink()
    forge(f"UPDATE {TABLE} SET at = {_AGES_AGO[connection.vendor]}")
    recompute_from(1)
    write("ROUND")
    happen()
    assert check() == CheckpointResult(reach=10)


_AGES_AGO = {"sqlite": "'2026-01-01 08:00:00.000001'", "postgresql": "'2026-01-01 08:00:00Z'"}
