"""`verify_audit` exits with 0 and the head; 1 and the first bad event; 2 if it cannot check."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError, connection

from killswitch.audit import chain, checkpoints, signing
from killswitch.audit.management.commands import verify_audit
from killswitch.audit.models import EventKind
from killswitch.cancels.models import CancelRequest
from tests.audit import event_factories
from tests.audit.forging import TABLE, forge, recompute_from
from tests.audit.log import record
from tests.stack import database_url

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def requests(settings: Any, tmp_path: Path, unpublished: None) -> dict[str, CancelRequest]:
    """A log and tables that agree, with a checkpoint."""
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = ""
    made = event_factories.live()
    checkpoints.write("ROUND")
    return made


def run(*arguments: Any) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_audit", *map(str, arguments), stdout=out, stderr=err)
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def test_a_good_log_gives_0_and_the_head() -> None:
    status, out, err = run()
    head = chain.head()
    assert status == 0
    newest = f"newest event {head.seq}, fingerprint {head.hash}"
    assert out == f"Verification passed: {head.seq} events, {newest}\n"
    assert f"Checkpoints cover events up to {head.seq} of {head.seq}." in err


def test_a_bad_log_gives_1_the_first_bad_seq_and_why() -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq IN (4, 6)")
    status, out, _ = run()
    assert status == 1
    assert "first bad event 4: event 4 was changed" in out
    assert "6" not in out.splitlines()[0]


def test_other_proofs_that_fail_are_told_too(requests: dict[str, CancelRequest]) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 4")
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(conclusion="all is well")
    status, out, _ = run()
    assert status == 1
    assert out.splitlines()[0].startswith("Verification FAILED. CHAIN")
    assert "Also: TABLES" in out
    status, out, _ = run("--without-tables")
    assert status == 1
    assert "TABLES" not in out


def test_what_a_forger_named_cannot_play_with_the_terminal() -> None:
    """The rest of the line could be hidden, and another verdict be written over it."""
    name = "\x1b[2K\x1b[1A\nThe log verifies: 26 events\x1b[8m\u202e\x9b8m"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f'CREATE TRIGGER "{name}" AFTER INSERT ON alarms_telling BEGIN SELECT 1; END'
            )
        else:
            cursor.execute(
                f'CREATE TRIGGER "{name[:30]}" BEFORE UPDATE ON alarms_telling FOR EACH ROW'
                " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            )
    status, out, err = run()
    assert status == 1
    assert len(out.splitlines()) == 1
    assert out.startswith("Verification FAILED. GUARDS")
    assert "␛[2K␛[1A The log verifies" in out
    assert (out + err).replace("\n", "").isprintable()


def test_nor_can_what_a_database_or_a_path_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status, _, err = run("--checkpoint", tmp_path / "\x1b[2Kmissing")
    assert status == 2
    assert "␛[2Kmissing cannot be read" in err

    def gone(**_: Any) -> None:
        raise OperationalError("\x1b[2Kgone\nThe log verifies\udc9b")

    monkeypatch.setattr(verify_audit, "verify", gone)
    assert run()[2] == "The log could not be verified: ␛[2Kgone The log verifies\\udc9b\n"


def test_letters_of_any_script_are_printed_as_they_are() -> None:
    assert verify_audit.one_line("Größe 漢字 …") == "Größe 漢字 …"


def test_a_kept_checkpoint_finds_what_our_own_file_no_longer_can(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    checkpoints.default_path().rename(kept)
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 1")
    recompute_from(1)
    assert run()[0] == 0
    status, out, _ = run("--checkpoint", kept)
    assert status == 1
    assert "rewritten" in out


def test_how_far_an_old_kept_head_reaches_is_said(tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(checkpoints.default_path().read_bytes())
    reach = chain.head().seq
    record(chain.NewEvent(kind=EventKind.SIGNED_IN))
    status, _, err = run("--checkpoint", kept)
    assert status == 0
    assert f"Checkpoints cover events up to {reach} of {reach + 1}." in err
    kept.write_bytes(b"")
    status, _, err = run("--checkpoint", kept)
    assert status == 0
    assert f"Checkpoints cover events up to 0 of {reach + 1}." in err
    assert "Warning: there are no checkpoints" in err


def test_a_public_key_known_from_elsewhere_is_used(tmp_path: Path, settings: Any) -> None:
    public = tmp_path / "public.pem"
    public.write_text(signing.public_key_pem())
    settings.AUDIT_SIGNING_KEY = ""
    settings.DATABASE_URL = "postgresql://db/killswitch"
    assert "no key is available" in run()[2]
    status, _, err = run("--public-key", public)
    assert status == 0
    assert "no key" not in err
    public.write_text(signing.encode_public_key(Ed25519PrivateKey.generate().public_key()))
    assert run("--public-key", public)[0] == 1


def test_what_could_not_be_checked_gives_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = run("--checkpoint", tmp_path / "missing.jsonl")
    assert (status, out) == (2, "")
    assert "missing.jsonl cannot be read" in err
    status, _, err = run("--public-key", checkpoints.default_path())
    assert status == 2
    assert "is not an Ed25519 public key" in err

    def gone(**_: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr(verify_audit, "verify", gone)
    status, _, err = run()
    assert status == 2
    assert "closed the connection" in err


@pytest.mark.parametrize("exists", [True, False])
def test_a_database_without_a_log_gives_2(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "killswitch.sqlite3"
    if exists:
        path.touch()
    ended = _process(DATABASE_URL="", KILLSWITCH_HOME=str(tmp_path))
    assert ended.returncode == 2, ended.stderr
    assert ("has no audit log" if exists else "unable to open database file") in ended.stderr
    assert path.exists() == exists
    assert ended.stdout == ""


def test_a_database_that_is_not_there_gives_2(tmp_path: Path) -> None:
    ended = _process(DATABASE_URL="postgresql://user@127.0.0.1:9/none")
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.usefixtures("small_batches")
def test_progress_is_shown_on_standard_error() -> None:
    _, out, err = run()
    assert f"events: 2 of {chain.head().seq}" in err
    assert "requests: 4 of 4" in err
    assert len(out.splitlines()) == 1


@pytest.mark.django_db(transaction=True)
def test_it_is_a_command_of_its_own(tmp_path: Path) -> None:
    ended = _process(DATABASE_URL=database_url(), KILLSWITCH_HOME=str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert chain.head().hash in ended.stdout


def _process(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "verify_audit"],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "killswitch.settings", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
