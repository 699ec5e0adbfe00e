"""The observer keeps checkpoints, verifies the log, and raises one alarm when it does not hold."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from structlog.testing import capture_logs

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit import checkpoints
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind, Verification
from killswitch.audit.verification.findings import VerificationImpossible
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.observer import audit_upkeep
from killswitch.observer.audit_upkeep import AuditUpkeep
from killswitch.supervision import lifecycle_events
from tests.alarms.conftest import Sink, _plugins_are_loaded, sink
from tests.audit import event_factories, forging
from tests.audit.forging import TABLE, forge, recompute_from
from tests.audit.log import record
from tests.clock import Clock
from tests.conftest import wait_for
from tests.failures import full_log
from tests.stack import Stack

__all__ = ["_plugins_are_loaded", "sink"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def active() -> list[bool]:
    """Whether this process is the active observer."""
    return [True]


@pytest.fixture
def keeper(clock: Clock, active: list[bool], settings: Any, tmp_path: Path) -> AuditUpkeep:
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = ""
    return AuditUpkeep(is_active=lambda: active[0], stop=threading.Event(), clock=clock)


def happen(times: int = 1) -> None:
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(times)))


def lines() -> list[dict[str, Any]]:
    path = checkpoints.default_path()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def found() -> Verification:
    last = Verification.objects.first()
    assert last is not None
    return last


def test_the_first_verification_is_of_everything_and_is_remembered(keeper: AuditUpkeep) -> None:
    assert Verification.objects.first() is None
    happen(3)
    keeper.verify()
    last = found()
    assert (last.ok, last.head_seq, last.whole_seq, last.reason) == (True, 3, 3, "")
    assert last.at == last.whole_at
    assert not Alarm.objects.exists()


def test_then_only_what_is_new_and_after_an_hour_everything_again(
    keeper: AuditUpkeep, clock: Clock
) -> None:
    happen(3)
    keeper.verify()
    first = found()
    happen(2)
    keeper.verify()
    assert found().head_seq == 3, "it was not due yet"
    clock.now += audit_upkeep.VERIFY_INTERVAL_S
    keeper.verify()
    assert (found().head_seq, found().whole_seq) == (5, 3)
    assert found().whole_at == first.whole_at
    assert found().at > first.at
    clock.now += audit_upkeep.FULL_VERIFY_INTERVAL_S
    keeper.verify()
    assert (found().head_seq, found().whole_seq) == (5, 5)


def test_an_edit_of_a_new_event_raises_one_alarm(keeper: AuditUpkeep, clock: Clock) -> None:
    happen(3)
    keeper.verify()
    happen(2)
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 5")
    for _ in range(3):
        clock.now += audit_upkeep.VERIFY_INTERVAL_S
        keeper.verify()
    assert (found().ok, found().first_bad_seq) == (False, 5)
    assert "event 5 was changed" in found().reason
    [alarm] = Alarm.objects.all()
    assert alarm.kind == "EVIDENCE"
    assert alarm.detail.startswith("Events in the log were changed, removed or replaced.")
    assert "Technical reason: event 5 was changed" in alarm.detail
    assert AuditEvent.objects.filter(kind=EventKind.ALARM_RAISED).count() == 1


def test_an_edit_of_an_old_event_is_found_by_the_next_whole_verification(
    keeper: AuditUpkeep, clock: Clock
) -> None:
    happen(5)
    keeper.verify()
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 2")
    clock.now += audit_upkeep.VERIFY_INTERVAL_S
    keeper.verify()
    assert found().ok, "only the newest are looked at"
    clock.now += audit_upkeep.FULL_VERIFY_INTERVAL_S
    keeper.verify()
    assert (found().ok, found().first_bad_seq) == (False, 2)
    assert Alarm.objects.count() == 1


def test_what_is_broken_stays_broken_until_everything_verifies(
    keeper: AuditUpkeep, clock: Clock
) -> None:
    happen(2)
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 2")
    keeper.verify()
    assert not found().ok
    forge(f"UPDATE {TABLE} SET actor = 'system' WHERE seq = 2")
    clock.now += audit_upkeep.VERIFY_INTERVAL_S
    keeper.verify()
    assert not found().ok
    clock.now += audit_upkeep.FULL_VERIFY_RETRY_S
    keeper.verify()
    assert found().ok
    assert Alarm.objects.count() == 1, "it stays until somebody acknowledges it"


def test_a_recorded_restore_is_verified_at_the_next_round(
    keeper: AuditUpkeep, clock: Clock
) -> None:
    happen(6)
    keeper.write_checkpoint()
    forge(f"DELETE FROM {TABLE} WHERE seq > 3")
    keeper.verify()
    assert not found().ok
    with pytest.raises(SystemExit) as end:
        call_command("record_restore", reason="the disk failed")
    assert end.value.code == 0
    Verification.objects.update(ok=False)
    clock.now += audit_upkeep.VERIFY_INTERVAL_S
    keeper.verify()
    assert found().ok
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 2")
    clock.now += audit_upkeep.VERIFY_INTERVAL_S
    keeper.verify()
    assert found().ok, "the same restore is no reason for another whole verification"


def test_everything_that_does_not_hold_is_an_alarm_of_its_own(
    keeper: AuditUpkeep, clock: Clock
) -> None:
    happen(2)
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 2")
    keeper.verify()
    Exchange.objects.create(exchange_id="SMUGGLED")
    clock.now += audit_upkeep.FULL_VERIFY_RETRY_S
    keeper.verify()
    subjects = [alarm.subject.partition(":")[0] for alarm in Alarm.objects.order_by("id")]
    assert subjects == ["CHAIN", "TABLES"]


def test_a_log_written_anew_is_found_by_its_checkpoints(keeper: AuditUpkeep) -> None:
    happen(3)
    keeper.write_checkpoint()
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 1")
    recompute_from(1)
    keeper.verify()
    assert "rewritten" in found().reason
    assert Alarm.objects.get().subject == "CHECKPOINT: 3"


@pytest.mark.usefixtures("unpublished")
def test_a_request_changed_without_an_event_is_found(keeper: AuditUpkeep) -> None:
    made = event_factories.live()
    keeper.verify()
    assert found().ok
    CancelRequest.objects.filter(pk=made["rejected"].pk).update(reject_reason="OTHER")
    fresh = AuditUpkeep(is_active=lambda: True, stop=threading.Event())
    fresh.verify()
    assert "reject_reason" in found().reason


def cannot_check(keeper: AuditUpkeep, clock: Clock, *, rounds: int) -> None:
    for _ in range(rounds):
        clock.now += audit_upkeep.VERIFY_INTERVAL_S
        keeper.verify()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (VerificationImpossible("no log"), "no log"),
        (OperationalError("no log"), "no log"),
        (ValueError("no text"), "ValueError: no text"),  # a row that no verification expects
    ],
)
def test_a_log_that_twice_could_not_be_checked_raises_one_alarm(
    keeper: AuditUpkeep,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def fail(**_: object) -> None:
        raise error

    happen()
    with monkeypatch.context() as patch:
        patch.setattr(audit_upkeep, "verify", fail)
        cannot_check(keeper, clock, rounds=1)
        assert not Alarm.objects.exists()
        cannot_check(keeper, clock, rounds=3)
    [alarm] = Alarm.objects.all()
    assert (alarm.kind, alarm.title) == ("EVIDENCE", "The audit log could not be verified.")
    assert alarm.detail == f"{reason}{audit_upkeep.INSTRUCTION}"
    cannot_check(keeper, clock, rounds=1)
    assert found().ok, "it can be checked again, and agrees with the alarm"


def test_what_could_not_be_checked_once_and_then_again_later_calls_nobody(
    keeper: AuditUpkeep, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise VerificationImpossible("no log")

    for _ in range(3):
        cannot_check(keeper, clock, rounds=1)
        with monkeypatch.context() as patch:
            patch.setattr(audit_upkeep, "verify_newest", fail)
            cannot_check(keeper, clock, rounds=1)
    assert not Alarm.objects.exists()


def test_where_the_alarm_cannot_be_recorded_the_log_says_so_and_the_places_are_told_once(
    keeper: AuditUpkeep, clock: Clock, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    happen()
    with forging.log_away(), capture_logs() as said:
        cannot_check(keeper, clock, rounds=4)
    assert not Alarm.objects.exists()
    errors = [line for line in said if line["log_level"] == "error"]
    assert [line["event"] for line in errors] == ["audit_alarm_not_recorded"] * 3
    assert "has no audit log" in errors[0]["detail"]
    [title] = sink.titles()
    assert title.endswith("The audit log could not be verified.")
    cannot_check(keeper, clock, rounds=1)
    assert found().ok


def test_only_the_active_observer_verifies_and_it_begins_with_everything(
    keeper: AuditUpkeep, active: list[bool], clock: Clock
) -> None:
    happen(3)
    active[0] = False
    keeper.verify()
    assert Verification.objects.first() is None
    active[0] = True
    keeper.verify()
    assert found().whole_seq == 3
    happen()
    active[0] = False
    keeper.verify()
    active[0] = True
    keeper.verify()
    assert found().whole_seq == 4


@pytest.mark.usefixtures("small_batches")
def test_a_stop_ends_a_verification_and_stores_nothing(keeper: AuditUpkeep) -> None:
    happen(3)
    keeper._stop.set()
    keeper.verify()
    assert Verification.objects.first() is None


def test_a_checkpoint_is_written_when_something_happened(keeper: AuditUpkeep) -> None:
    keeper.write_checkpoint()
    assert lines() == []
    happen()
    keeper.write_checkpoint()
    keeper.write_checkpoint()
    assert [line["seq"] for line in lines()] == [1]


def test_writing_checkpoints_and_verifying_adds_no_event(keeper: AuditUpkeep, clock: Clock) -> None:
    happen()
    for _ in range(3):
        keeper.write_checkpoint()
        keeper.verify()
        clock.now += audit_upkeep.FULL_VERIFY_INTERVAL_S
    assert AuditEvent.objects.count() == 1


def test_a_finding_of_which_no_alarm_can_be_recorded_is_told_to_the_places_at_once(
    keeper: AuditUpkeep, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    happen(2)
    forge(f"UPDATE {TABLE} SET actor = 'x' WHERE seq = 2")
    with full_log():
        keeper.verify()
    assert not Alarm.objects.exists()
    assert not found().ok
    [(_, told)] = sink.received
    assert "failed verification" in told["title"]
    assert "event 2 was changed" in told["message"]


def round_after(keeper: AuditUpkeep, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    keeper.write_checkpoint()


def heads(sink: Sink, path: str = "/a") -> list[int]:
    return [int(title.rpartition(" ")[2]) for title in sink.titles(path)]


def test_the_archives_are_told_a_head_once_a_minute_in_which_something_happened(
    keeper: AuditUpkeep, clock: Clock, sink: Sink, settings: Any
) -> None:
    settings.ARCHIVE_URLS = (sink.url("/a"), sink.url("/b"))
    every = audit_upkeep.CHECKPOINT_INTERVAL_S
    for _ in range(5):
        happen()
        round_after(keeper, clock, every - 0.01)  # rounds are never quite punctual
    assert heads(sink) == heads(sink, "/b") == [1, 3, 5]
    for _ in range(9):
        round_after(keeper, clock, every)
    assert heads(sink) == [1, 3, 5], "nothing happened, and telling is not an event"
    assert not Delivery.objects.exists()


def test_a_head_that_came_too_early_to_be_told_is_told_within_the_minute(
    keeper: AuditUpkeep, clock: Clock, sink: Sink, settings: Any
) -> None:
    settings.ARCHIVE_URLS = (sink.url("/a"),)
    happen()
    keeper.write_checkpoint()
    happen()
    round_after(keeper, clock, audit_upkeep.CHECKPOINT_INTERVAL_S)
    assert heads(sink) == [1]
    round_after(keeper, clock, audit_upkeep.CHECKPOINT_INTERVAL_S)
    assert heads(sink) == [1, 2], "although nothing has happened since"


def test_the_active_observer_tells_and_whoever_becomes_it(
    keeper: AuditUpkeep, clock: Clock, sink: Sink, settings: Any, active: list[bool]
) -> None:
    settings.ARCHIVE_URLS = (sink.url("/a"),)
    active[0] = False
    happen()
    keeper.write_checkpoint()
    assert heads(sink) == []
    active[0] = True
    keeper.write_checkpoint()
    assert heads(sink) == [1]


def test_what_was_told_verifies_as_a_checkpoint(
    keeper: AuditUpkeep, sink: Sink, settings: Any, tmp_path: Path
) -> None:
    settings.ARCHIVE_URLS = (sink.url(),)
    happen(2)
    keeper.write_checkpoint()
    [(_, told)] = sink.received
    assert told["type"] == "info"
    line = told["message"].splitlines()[-1].strip()
    assert checkpoints.parse(line.encode()).seq == 2


def test_a_place_that_fails_harms_nothing(
    keeper: AuditUpkeep, sink: Sink, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ARCHIVE_URLS = (sink.url("/broken"), sink.url("/ok"))
    sink.status["/broken"] = 500
    happen()
    keeper.write_checkpoint()
    assert len(sink.titles("/ok")) == 1


@pytest.mark.parametrize("error", [OSError("no space left"), OperationalError("gone")])
def test_a_start_or_stop_is_not_disturbed_by_a_checkpoint(
    keeper: AuditUpkeep, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_occasion: str) -> None:
        raise error

    monkeypatch.setattr(checkpoints, "write", fail)
    assert audit_upkeep.try_to_write_checkpoint("STOPPED") is None


def test_a_start_and_a_stop_are_kept_and_the_stop_is_told(
    keeper: AuditUpkeep, sink: Sink, settings: Any
) -> None:
    settings.ARCHIVE_URLS = (sink.url(),)
    lifecycle_events.record_start(["web"])
    assert sink.received == []
    lifecycle_events.record_stop(["web"], timeout_s=10)
    assert [(line["occasion"], line["seq"]) for line in lines()] == [("STARTED", 1), ("STOPPED", 2)]
    assert len(sink.titles()) == 1


def test_a_stop_does_not_wait_longer_than_it_may_for_a_place(
    keeper: AuditUpkeep, sink: Sink, settings: Any
) -> None:
    import time

    settings.ARCHIVE_URLS = (sink.url("/slow"),)
    sink.delay["/slow"] = 30
    began = time.monotonic()
    lifecycle_events.record_stop(["web"], timeout_s=1.5)
    assert time.monotonic() - began < 10  # the place answers after 30 s
    assert [line["occasion"] for line in lines()] == ["STOPPED"]


def test_the_observer_process_verifies_and_keeps_the_last_head(
    stack: Stack, tmp_path: Path
) -> None:
    happen(3)
    process = stack.manage("observe")
    wait_for(lambda: Verification.objects.first() is not None, seconds=30)
    assert (found().ok, found().head_seq) == (True, 3)
    path = tmp_path / checkpoints.FILE
    wait_for(lambda: path.exists() and bool(path.read_text()), seconds=5)
    happen()
    process.terminate()
    assert process.wait(20) == 0
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["seq"], line["occasion"]) for line in kept] == [
        (3, "ROUND"),
        (4, "OBSERVER_STOPPED"),
    ]
