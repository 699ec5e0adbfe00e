"""`manage.py record_restore`: a restored backup verifies again, and is reported for ever."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection

from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm
from killswitch.audit import chain, checkpoints, signing
from killswitch.audit.models import AuditEvent, EventKind, Verification
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.revisions import Revision, current, usable_since
from killswitch.supervision.management.commands import record_restore
from tests import factories
from tests.audit.assertions import assert_found, assert_good
from tests.audit.checkpoint_files import happen, resigned, save
from tests.audit.conftest import file, own_home
from tests.audit.export.export_helpers import exported
from tests.audit.forging import TABLE, forge, guards_off, log_away, recompute_from
from tests.failures import full_log
from tools import verify_export

__all__ = ["file", "own_home"]

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_home"),
]

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command: its exit code, its output, its errors."""
    monkeypatch.setattr(record_restore, "HEARTBEATS_S", 0.5)  # those of this test are quicker

    def command(reason: str = "the disk failed", **options: Any) -> Any:
        with pytest.raises(SystemExit) as end:
            call_command("record_restore", reason=reason, **options)
        output, errors = capsys.readouterr()
        return end.value.code, output, errors

    return command


def lose_after(seq: int) -> None:
    """Leave the log as a backup that ends with this event would."""
    forge(f"DELETE FROM {TABLE} WHERE seq > %s", [seq])


def append_and_keep(times: int = 1) -> None:
    happen(times)
    checkpoints.write("ROUND")


@pytest.fixture
def lost(file: Path) -> Path:
    """Lose events 13 to 20 of a log whose checkpoints are 10, 15 and 20."""
    append_and_keep(10)
    append_and_keep(5)
    append_and_keep(5)
    lose_after(12)
    assert_found(verify(), Proof.CHECKPOINT, "event 15 is missing")
    return file


def data_of(seq: int) -> dict[str, Any]:
    facts = json.loads(AuditEvent.objects.get(seq=seq).data)
    assert isinstance(facts, dict)
    return facts


def test_the_event_names_the_restored_head_and_the_lost_range(run: Run, lost: Path) -> None:
    kept = [checkpoints.parse(line) for line in lost.read_bytes().splitlines()]
    head = chain.head()
    code, output, errors = run()
    assert code == 0, (output, errors)
    event = AuditEvent.objects.get(seq=13)
    data = data_of(13)
    assert event.kind == EventKind.RESTORED
    assert event.actor.startswith("os:")
    assert (data["restored_seq"], data["restored_hash"]) == (12, head.hash)
    assert (data["proven_seq"], data["proven_hash"]) == (10, kept[0].hash)
    assert (data["lost_seq"], data["lost_heads"]) == (20, [kept[1].hash, kept[2].hash])
    assert (data["checkpoints"], data["replaced"]) == (3, 0)
    assert data["reason"] == "the disk failed"
    assert (
        "prove events up to 10, and the log lacks the events of 2 checkpoints, up to event 20"
        in output
    )


def test_the_log_verifies_with_the_restore_reported_and_heads_go_on(run: Run, lost: Path) -> None:
    run()
    assert Verification.objects.get().ok  # the readiness is clean at once
    for _ in range(3):  # also over the numbers of the lost events
        append_and_keep(4)
        result = verify()
        assert_good(result)
        assert any("the log was restored from a backup" in text for text in result.warnings)
        assert result.kept_seq == result.head_seq
    assert [json.loads(line)["occasion"] for line in lost.read_text().splitlines()][3] == "RESTORED"


def test_users_sign_in_again_an_alarm_says_why_and_pages_load_everything(
    run: Run, lost: Path, client: Any
) -> None:
    client.force_login(factories.person(Role.RISK_OFFICER))
    checkpoints.write("ROUND")
    before = current()
    run()
    first = current()
    assert not Session.objects.exists()
    alarm = Alarm.objects.get(kind="RESTORED")
    assert "the log lacks the events of 2 checkpoints" in alarm.detail
    assert usable_since(before + 100, newest=current()) == -1
    assert usable_since(current() - 1, newest=current()) == current() - 1
    Revision.objects.update(value=before)  # the same backup, restored again
    time.sleep(1)
    run()
    assert usable_since(first, newest=current()) == -1


def test_an_event_without_the_key_excuses_nothing(run: Run, lost: Path, tmp_path: Path) -> None:
    key = tmp_path / signing.KEY_FILE
    mine = key.read_bytes()
    foreign = Ed25519PrivateKey.generate()
    run()
    facts = data_of(13)
    for changes in (
        {"signature": ""},
        {"lost_heads": [*facts["lost_heads"], "0" * 64]},
        {"proven_seq": 2},
        {"lost_seq": 2**60},
        {"reason": "\ud800"},
        {"more": 1},
        {"recorded_at": "2999-01-01T00:00:00.000000Z"},
        {"key_id": signing.key_id(signing.encode_public_key(foreign.public_key()))},
    ):
        text = json.dumps(facts | changes, sort_keys=True, separators=(",", ":"))
        forge(f"UPDATE {TABLE} SET data = %s WHERE seq = 13", [text])
        recompute_from(13)
        result = verify(checkpoint_file=lost)
        assert_found(result, Proof.CHECKPOINT, "event 15")
        assert any("no known key has signed it" in text for text in result.warnings)
    assert key.read_bytes() == mine


def test_it_excuses_no_later_loss(run: Run, lost: Path) -> None:
    run()
    append_and_keep(2)  # 16: within the numbers that are excused
    lose_after(14)
    assert_found(verify(), Proof.CHECKPOINT, "event 16 is missing")
    append_and_keep(20)
    assert_found(verify(), Proof.CHECKPOINT, "event 16 is not the event of the checkpoint")


def test_a_start_before_it_proves_nothing_about_the_time_before(run: Run, lost: Path) -> None:
    append_and_keep(1)  # 13, of the new branch
    append_and_keep(12)  # 25
    code, _, errors = run()
    assert code == 2
    assert "Other events are in the place of those of 2 checkpoints" in errors
    assert "--system-was-started" in errors
    code, output, _ = run(system_was_started=True)
    data = data_of(26)
    assert code == 0, output
    assert (data["restored_seq"], data["proven_seq"], data["lost_seq"]) == (25, 10, 20)
    assert data["replaced"] == 2
    assert "2 of these numbers belong to other events now" in output
    assert_good(verify())


def test_a_restore_of_a_backup_from_before_a_restore(run: Run, lost: Path) -> None:
    run()
    append_and_keep(30)
    lose_after(11)
    Alarm.objects.all().delete()  # as in the backup
    code, output, _ = run("again")
    assert code == 0, output
    assert data_of(12)["lost_seq"] == 44  # with the alarm of the first one
    assert len(data_of(12)["lost_heads"]) == 4
    assert_good(verify())


def test_another_observers_file_can_show_more(run: Run, lost: Path, tmp_path: Path) -> None:
    longer = tmp_path / "other.jsonl"
    *early, _ = lost.read_bytes().splitlines()
    longer.write_bytes(lost.read_bytes())
    save(lost, *early)  # this host's own file ends with event 15
    assert run()[0] == 0
    result = verify(checkpoint_file=longer)
    assert_found(result, Proof.CHECKPOINT, "event 20")
    code, output, _ = run(checkpoint=[longer])
    assert code == 0, output
    assert_good(verify(checkpoint_file=longer))
    assert_good(verify())


def test_without_a_loss_it_says_so(run: Run) -> None:
    append_and_keep(3)
    code, output, _ = run()
    assert code == 0
    assert "checkpoints prove events up to 3, and no further one is missing" in output


def test_without_checkpoints_it_has_to_be_asked_for(run: Run) -> None:
    happen(3)
    code, output, errors = run()
    assert (code, output) == (2, "")
    assert "so what was lost is not known" in errors
    assert "Nothing was recorded" in errors
    assert not AuditEvent.objects.filter(kind=EventKind.RESTORED).exists()
    code, output, _ = run(without_checkpoints=True)
    assert code == 0
    assert "there were no checkpoints, so what was lost is not known" in output


@pytest.mark.parametrize("reason", ["", " \n", "..."])
def test_a_reason_is_needed(run: Run, lost: Path, reason: str) -> None:
    assert run(reason)[0] == 2
    assert chain.head().seq == 12


def test_a_damaged_log_is_not_accepted(run: Run, lost: Path) -> None:
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 5")
    code, _, errors = run()
    assert code == 2
    assert "itself damaged: event 5 was changed" in errors
    assert chain.head().seq == 12


def test_a_changed_file_of_checkpoints_is_not_accepted(run: Run, lost: Path) -> None:
    first, *rest = lost.read_bytes().splitlines()
    save(lost, resigned(first, Ed25519PrivateKey.generate(), seq=11), *rest)
    code, _, errors = run()
    assert code == 2
    assert "Nothing was recorded" in errors
    assert chain.head().seq == 12


def test_signed_checkpoints_need_the_key(run: Run, lost: Path, settings: Any) -> None:
    settings.DATABASE_URL = "postgresql://killswitch@db/killswitch"
    code, _, errors = run()
    assert code == 2
    assert "set AUDIT_SIGNING_KEY" in errors
    assert chain.head().seq == 12


def test_another_fault_is_still_found(run: Run, lost: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE exchanges_exchange SET caveat = 'forged'")
    factories.person(Role.COMPLIANCE)  # without an event
    code, output, _ = run()
    assert code == 1
    assert "Verification FAILED" in output
    assert AuditEvent.objects.filter(kind=EventKind.RESTORED).exists()


def test_the_auditors_verifier_agrees(
    run: Run, lost: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lost.read_bytes()
    run()
    append_and_keep(9)  # over the numbers of the lost events
    file, key = tmp_path / "export.jsonl", tmp_path / "known.pem"
    file.write_bytes(exported().content)
    key.write_text(signing.public_key_pem())
    options = [str(file), "--public-key", str(key), "--checkpoints"]
    assert verify_export.main([*options, str(lost)]) == 0
    output = capsys.readouterr().out
    assert "NOTE: the log was restored from a backup, as os:" in output
    assert "NOTE: 2 checkpoints are of events that the restored backup lost." in output
    assert "the log lacks the events of 2 checkpoints, up to event 20" in output
    # What was lost later is not explained by it, nor is anything without the auditor's key.
    lose_after(20)
    append_and_keep(1)
    file.write_bytes(exported().content)
    assert verify_export.main([*options, str(lost)]) == 1
    key.write_text(signing.encode_public_key(Ed25519PrivateKey.generate().public_key()))
    lost.write_bytes(before)
    assert verify_export.main([str(file), "--checkpoints", str(lost)]) == 2
    assert "give the key with --public-key" in capsys.readouterr().out
    assert verify_export.main([*options, str(lost)]) == 1


def test_a_newer_backup_after_a_wrong_one(run: Run, file: Path) -> None:
    for _ in range(4):
        append_and_keep(5)
    whole = log_rows()
    lose_after(12)
    assert run()[0] == 0  # the wrong backup, and a system that ran on it
    append_and_keep(3)
    Alarm.objects.all().delete()
    replace_log(whole)
    code, output, _ = run("the newer one", system_was_started=True)
    assert code == 0, output
    assert "checkpoints prove events up to 20, and the log lacks the events of 2" in output
    assert_good(verify())


def test_an_event_of_another_log_or_of_a_log_rewritten_since_excuses_nothing(
    run: Run, lost: Path
) -> None:
    before = lost.read_bytes().splitlines()
    run()
    save(lost, *before)  # without the heads that were kept since
    assert_good(verify(checkpoint_file=lost))
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 12")
    recompute_from(12)
    result = verify(checkpoint_file=lost)
    assert_found(result, Proof.CHECKPOINT, "event 15")
    assert any("made for another log" in text for text in result.warnings)


def test_without_a_key_only_the_hosts_own_file_confirms_it(
    run: Run, file: Path, settings: Any
) -> None:
    settings.DATABASE_URL = "postgresql://killswitch@db/killswitch"  # signing is off
    for _ in range(4):
        append_and_keep(5)
    kept = file.read_bytes()
    lose_after(12)
    assert run()[0] == 0
    assert_good(verify())
    file.write_bytes(kept)  # an event alone could have been made by anyone
    append_and_keep(1)
    assert_found(verify(), Proof.CHECKPOINT, "event 1")


def test_programs_that_run_must_be_stopped_first(run: Run, lost: Path) -> None:
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.2):
            heartbeats.beat(Process.WORKER)
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        code, _, errors = run()
    finally:
        stop.set()
        thread.join()
    assert code == 2
    assert "Programs are running on this database: worker on " in errors
    assert chain.head().seq == 12


def test_a_database_that_fails_says_what_is_known(
    run: Run, lost: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log_away():
        code, _, errors = run()
    assert code == 2
    assert "Nothing was recorded." in errors
    with full_log():
        code, _, errors = run()
    assert code == 2
    assert "Whether it was recorded is not known" in errors


def log_rows() -> list[Any]:
    return list(AuditEvent.objects.order_by("seq"))


def replace_log(rows: list[Any]) -> None:
    """Restore another backup."""
    with guards_off() as cursor:
        cursor.execute(f"DELETE FROM {TABLE}")
        AuditEvent.objects.bulk_create(rows)
