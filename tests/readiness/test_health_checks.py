"""The word and the sentence: would a click work right now?"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext

from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent, Verification
from killswitch.break_glass import outage, rehearsal
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.exchanges.models import Exchange, Observation
from killswitch.holds.models import Hold
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.judgement import Check, Level, Readiness, judge, redacted_for_public
from killswitch.readiness.models import Canary, EmsReach, Probe
from killswitch.runtime.heartbeats import Heartbeat, Process
from tests.audit import forging
from tests.failures import failing, full_log
from tests.readiness.conftest import ago, reached_ems, rehearsed

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("all_is_well"),
]

HOUR = 3600.0


def check(readiness: Readiness, name: str) -> Check:
    (found,) = [check for check in readiness.checks if check.name == name]
    return found


def stop_beating(*kinds: Process) -> None:
    Heartbeat.objects.filter(kind__in=kinds).update(beat_at=ago(HOUR))


def lose_canaries(error: str = "") -> None:
    Canary.objects.update(answered_at=ago(HOUR), error=error)


def test_all_is_well() -> None:
    readiness = evaluate()
    assert (readiness.word, readiness.sentence) == (
        Level.READY,
        "Ready: a cancel would go through.",
    )
    assert all(check.ok for check in readiness.checks)
    assert check(readiness, "database").milliseconds is not None
    assert check(readiness, "ems").milliseconds == 12


@pytest.mark.parametrize("kind", [Process.WATCHDOG, Process.OBSERVER])
def test_a_watchdog_or_an_observer_is_missed_but_a_click_works(kind: Process) -> None:
    stop_beating(kind)
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert kind.label in readiness.sentence


def test_without_workers_the_watchdog_carries_out() -> None:
    lose_canaries()
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert "last message through the queue arrived 60 min ago" in readiness.sentence


def test_without_a_broker_the_watchdog_carries_out() -> None:
    lose_canaries(error="the broker does not answer (ConnectionError)")
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert not check(readiness, "broker").ok
    assert "Queue: the broker does not answer" in readiness.sentence


def test_with_neither_worker_nor_watchdog_no_click_works() -> None:
    lose_canaries()
    stop_beating(Process.WATCHDOG)
    readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    assert check(readiness, "worker").needed
    assert check(readiness, "watchdog").needed


def test_where_nobody_sends_canaries_the_workers_hearts_count() -> None:
    Canary.objects.all().delete()
    stop_beating(Process.WATCHDOG)
    assert evaluate().word is Level.DEGRADED
    stop_beating(Process.WORKER)
    assert evaluate().word is Level.NOT_READY


@pytest.mark.parametrize("why", ["the key was refused: HTTP 401", "connection refused"])
def test_an_ems_that_refuses_us_or_is_not_there_makes_it_not_ready(why: str) -> None:
    Probe.objects.update(ok=False, detail=why)
    readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    assert readiness.sentence == f"Not ready. EMS: {why}."


def test_an_ems_that_nobody_has_asked_for_long_is_not_known_and_not_condemned() -> None:
    Probe.objects.update(ok=False, at=ago(HOUR))
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert "state unknown" in check(readiness, "ems").detail


def test_stale_figures_are_told() -> None:
    Observation.objects.update(seen_at=ago(8))
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert (check(readiness, "figures").age_seconds or 0) > 7


def test_an_unreadable_list_is_told_at_once_with_its_reason() -> None:
    Observation.objects.update(error="HTTP 500")
    assert "HTTP 500" in evaluate().sentence


@pytest.mark.parametrize("name", ["watchdog", "observer", "worker", "broker", "figures", "ems"])
def test_a_time_in_the_future_is_never_fresh(name: str) -> None:
    ahead = ago(-HOUR)
    Heartbeat.objects.update(beat_at=ahead)
    Canary.objects.update(sent_at=ahead, answered_at=ahead)
    Observation.objects.update(seen_at=ahead)
    Probe.objects.update(at=ahead)
    found = check(evaluate(), name)
    assert not found.ok
    assert found.age_seconds is None
    assert "check the clocks" in found.detail


def test_with_no_exchange_enabled_there_is_nothing_to_click() -> None:
    Exchange.objects.update(enabled=False)
    readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    assert "Exchanges: none enabled" in readiness.sentence


def test_one_exchange_that_is_enabled_is_enough() -> None:
    Exchange.objects.create(exchange_id="OFF", enabled=False)
    assert check(evaluate(), "exchanges").detail == "1 enabled"


@pytest.mark.parametrize("model", [Probe, Observation])
def test_what_the_ems_says_cannot_turn_the_direction_of_writing(
    model: type[Probe | Observation],
) -> None:
    if model is Probe:
        Probe.objects.update(ok=False, detail="safe\u202egnp\x1b[2J")
    else:
        Observation.objects.update(error="safe\u202egnp\x1b[2J")
    said = evaluate().sentence
    assert "safe" in said
    assert said.isprintable()


def test_open_alarms_are_told_and_change_nothing() -> None:
    Alarm.objects.create(
        kind="OUTCOME", subject="s", title="t", raised_at=ago(timedelta(1).seconds)
    )
    readiness = evaluate()
    assert readiness.word is Level.READY
    assert check(readiness, "alarms").detail == "1 not acknowledged"


def test_a_database_that_cannot_be_written_to_makes_it_not_ready() -> None:
    error = DatabaseError("read-only; password=hunter2")
    with failing("killswitch.readiness.snapshot.beat", error):
        readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    assert "cannot be written to" in readiness.sentence
    assert "hunter2" not in str(readiness)


def test_nothing_that_ever_happened_is_not_ready() -> None:
    for model in (Heartbeat, Canary, Probe, Observation, EmsReach):
        model.objects.all().delete()
    readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    ok = [c.name for c in readiness.checks if c.ok]
    assert ok == ["database", "version", "exchanges", "holds", "log", "break_glass", "alarms"]


@pytest.mark.parametrize(
    ("succeeded_s_ago", "failures", "ok", "detail"),
    [
        (HOUR, [], True, "rehearsed on this host 60 min ago"),
        (
            23 * HOUR,
            ["EMS: down"],
            True,
            "rehearsed on this host 23 h 0 min ago; the last rehearsal failed: EMS: down",
        ),
        (25 * HOUR, [], False, "rehearsed on this host 25 h 0 min ago"),
        (
            None,
            ["EMS: down"],
            False,
            "never rehearsed on this host; the last rehearsal failed: EMS: down",
        ),
        (-HOUR, [], False, "time is in the future: check the clocks"),
    ],
)
def test_break_glass_must_have_been_rehearsed_within_a_day(
    tmp_path: Path,
    succeeded_s_ago: float | None,
    failures: list[str],
    ok: bool,
    detail: str,
) -> None:
    succeeded_at = None if succeeded_s_ago is None else ago(succeeded_s_ago)
    rehearsed(tmp_path, succeeded_at=succeeded_at, failures=failures)
    readiness = evaluate()
    found = check(readiness, "break_glass")
    assert (found.ok, found.detail, found.needed) == (ok, detail, False)
    assert readiness.word is (Level.READY if ok else Level.DEGRADED)
    public = redacted_for_public(readiness)
    assert "EMS: down" not in check(public, "break_glass").detail


@pytest.mark.parametrize("content", [None, "", "[]", '{"at": 1}'])
def test_a_host_without_a_rehearsal_is_degraded(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / rehearsal.FILE
    path.unlink() if content is None else path.write_text(content)
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert check(readiness, "break_glass").detail == "never rehearsed on this host"


def held(exchange_id: str = "KRAKEN", **columns: Any) -> Hold:
    """Hold an exchange, whose list was read just now unless the columns say otherwise."""
    exchange, _ = Exchange.objects.get_or_create(exchange_id=exchange_id)
    values = {"started_at": ago(60), "last_read_at": ago(0), "origin": "COMMAND_LINE"} | columns
    return Hold.objects.create(configured_exchange=exchange, exchange_id=exchange_id, **values)


def test_a_hold_that_is_enforced_is_ready() -> None:
    held()
    assert evaluate().word is Level.READY
    assert check(evaluate(), "holds").detail == "1 exchange held, lists read"
    assert (check(evaluate(), "holds").age_seconds or 9) < 5


@pytest.mark.parametrize(
    ("columns", "seconds", "problem"),
    [
        ({"last_read_at": 12}, 12, "is not being enforced: last list read 12 s ago"),
        ({"last_read_at": 7}, 7, "is not being enforced: last list read 7 s ago"),
        ({"last_read_at": 5}, 5, ""),
        (
            {"last_read_at": None, "started_at": 8},
            None,
            "is not being enforced: no list read yet, started 8 s ago",
        ),
        ({"last_read_at": None, "started_at": 3}, None, ""),
        (
            {"last_read_at": -HOUR},
            None,
            "is not being enforced: time is in the future: check the clocks",
        ),
        (
            {"last_read_at": 31, "blind_since": 30, "read_error": "HTTP 500"},
            31,
            "is blind: last list read 31 s ago (HTTP 500)",
        ),
        (
            {"last_read_at": 1, "blind_since": 1},
            1,
            "is blind: last list read 1 s ago (reason unknown)",
        ),
    ],
)
def test_a_hold_whose_list_is_not_read_is_told(
    columns: dict[str, Any], seconds: float | None, problem: str
) -> None:
    times = {key: ago(value) for key, value in columns.items() if isinstance(value, float | int)}
    held("KRAKEN", **columns | times)
    readiness = evaluate()
    found = check(readiness, "holds")
    assert readiness.word is (Level.DEGRADED if problem else Level.READY)
    assert found.ok is not bool(problem)
    if problem:
        assert found.detail == f"Hold on KRAKEN {problem}"
        assert found.detail in readiness.sentence
    assert found.age_seconds == pytest.approx(seconds, abs=1.5) if seconds else True


def test_the_interval_of_the_reads_is_allowed_for(settings: Any) -> None:
    held(last_read_at=ago(8))
    assert evaluate().word is Level.DEGRADED
    settings.HOLD_INTERVAL = 5
    assert evaluate().word is Level.READY


def test_of_many_holds_some_are_named_and_all_are_counted() -> None:
    for number in range(5):
        held(f"V{number}", last_read_at=ago(40))
    held("FINE")
    detail = check(evaluate(), "holds").detail
    assert [f"V{number}" in detail for number in range(5)] == [True, True, True, False, False]
    assert detail.endswith("; and 2 more")


def test_strangers_see_neither_exchange_nor_words_of_the_ems() -> None:
    held("KRAKEN/JOHN", blind_since=ago(9), read_error="token hunter2")
    public = redacted_for_public(evaluate()).sentence
    assert "Holds: 1 of 1 Hold is blind or not enforced" in public
    assert "JOHN" not in public
    assert "hunter2" not in public
    assert "hunter2" in evaluate().sentence


def test_a_released_hold_is_no_longer_judged() -> None:
    held(
        state="RELEASED",
        released_at=ago(1),
        release_requested_at=ago(2),
        release_requested_by="x",
        last_read_at=ago(HOUR),
        blind_since=ago(HOUR),
    )
    assert check(evaluate(), "holds").detail == "no exchange is held"


@pytest.mark.parametrize("count", [0, 30])
def test_any_number_of_holds_is_one_query(count: int) -> None:
    for number in range(count):
        held(f"V{number}")
    with CaptureQueriesContext(connection) as asked:
        evaluate()
    assert len([query for query in asked.captured_queries if "holds_" in query["sql"]]) == 1


def verified(*, ok: bool, seconds_ago: float) -> None:
    Verification.objects.update_or_create(
        id=1,
        defaults={
            "at": ago(seconds_ago),
            "ok": ok,
            "head_seq": 7,
            "whole_at": ago(seconds_ago),
            "whole_seq": 7,
            "head_hash": "0" * 64,
            "first_bad_seq": None if ok else 3,
            "reason": "" if ok else "event 3 was changed",
            "warnings": "",
        },
    )


def test_a_log_that_was_verified_is_ready() -> None:
    verified(ok=True, seconds_ago=30)
    assert evaluate().word is Level.READY


def test_a_broken_log_keeps_no_click_from_working_and_is_told() -> None:
    verified(ok=False, seconds_ago=1)
    readiness = evaluate()
    assert readiness.word is Level.DEGRADED
    assert "Audit log: failed verification. Events in the log were changed" in readiness.sentence
    assert readiness.sentence.endswith("Technical reason: event 3 was changed.")


def test_a_log_that_nobody_verifies_any_more_is_told() -> None:
    verified(ok=True, seconds_ago=3600)
    assert evaluate().word is Level.DEGRADED


def test_a_log_that_is_gone_makes_it_not_ready() -> None:
    with forging.log_away():
        readiness = evaluate()
    assert readiness.word is Level.NOT_READY
    assert not check(readiness, "database").ok
    assert "the audit log cannot be read, so no request can be recorded" in readiness.sentence
    assert evaluate().word is Level.READY


def test_something_else_in_the_place_of_the_log_makes_it_not_ready() -> None:
    with forging.log_away(), connection.cursor() as cursor:
        cursor.execute(f"CREATE VIEW {forging.TABLE} AS SELECT 1 AS seq")
        assert evaluate().word is Level.NOT_READY
        cursor.execute(f"DROP VIEW {forging.TABLE}")


def test_reading_the_head_waits_for_nobody_who_appends() -> None:
    evaluate()  # tries a click, which does
    with CaptureQueriesContext(connection) as asked:
        evaluate()
    assert not [query for query in asked.captured_queries if "advisory" in query["sql"]]


def test_a_further_check_counts_like_the_others() -> None:
    weak = Check(name="chain", label="Log", ok=False, detail="not verified today")
    assert judge((*evaluate().checks, weak)).word is Level.DEGRADED


@pytest.mark.parametrize("detail", ["last read 332 s ago", "last read 332 s ago (HTTP 500)"])
def test_an_age_that_the_detail_states_is_not_repeated(detail: str) -> None:
    check = Check(name="figures", label="Open orders", ok=False, detail=detail, age_seconds=332.0)
    assert check.age_text == ""


class TestEachProcessReachesTheEms:
    def test_a_worker_that_cannot_connect_makes_it_not_ready(self) -> None:
        reached_ems(Process.WORKER, problem="Connection refused (error 111)")
        readiness = evaluate()
        assert readiness.word is Level.NOT_READY
        assert readiness.sentence == (
            "Not ready. EMS connections: Worker on alpha cannot reach the EMS over a new"
            " connection: Connection refused (error 111)."
        )

    def test_one_worker_of_two_is_enough_for_that(self) -> None:
        """The queue gives a cancel to any of them."""
        reached_ems(Process.WORKER, pid=2, problem="the API key was rejected")
        assert evaluate().word is Level.NOT_READY

    @pytest.mark.parametrize("kind", [Process.WATCHDOG, Process.OBSERVER])
    def test_of_others_it_is_a_warning_while_there_is_a_worker(self, kind: Process) -> None:
        reached_ems(kind, problem="Connection refused (error 111)")
        readiness = evaluate()
        assert readiness.word is Level.DEGRADED
        assert f"{kind.label} on alpha cannot reach the EMS" in readiness.sentence

    def test_without_a_worker_the_watchdog_must_reach_it(self) -> None:
        EmsReach.objects.filter(kind=Process.WORKER).delete()
        reached_ems(Process.WATCHDOG, problem="Connection refused (error 111)")
        assert evaluate().word is Level.NOT_READY

    @pytest.mark.parametrize("kind", [Process.WORKER, Process.WATCHDOG, Process.OBSERVER])
    def test_processes_with_different_settings_make_it_not_ready(self, kind: Process) -> None:
        reached_ems(kind, fingerprint="fedcba9876543210")
        readiness = evaluate()
        assert readiness.word is Level.NOT_READY
        assert "have different EMS_BASE_URL, EMS_API_KEY or SECRET_KEY" in readiness.sentence
        assert f"{kind.label} on alpha" in readiness.sentence

    def test_a_name_that_cannot_be_looked_up_is_a_warning(self) -> None:
        warning = "its name cannot be looked up; the last known address is used"
        reached_ems(Process.WORKER, warning=warning)
        readiness = evaluate()
        assert readiness.word is Level.DEGRADED
        assert f"EMS connections: Worker on alpha: {warning}." in readiness.sentence

    def test_a_process_that_has_ended_is_forgotten(self) -> None:
        reached_ems(Process.WORKER, pid=2, problem="Connection refused", at=ago(HOUR))
        assert evaluate().word is Level.READY

    def test_the_worker_is_named_before_those_that_are_not_needed(self) -> None:
        for kind in (Process.OBSERVER, Process.WATCHDOG, Process.WORKER):
            reached_ems(kind, problem="Connection refused (error 111)")
        sentence = evaluate().sentence
        assert sentence.startswith("Not ready. EMS connections: Worker on alpha cannot reach")
        assert sentence.endswith("; and 2 more.")

    @pytest.mark.parametrize("kind", [Process.WORKER, Process.WATCHDOG])
    def test_one_that_is_alive_and_tests_nothing_is_a_warning(self, kind: Process) -> None:
        """That the others reach the EMS proves nothing about it."""
        EmsReach.objects.filter(kind=kind).delete()
        readiness = evaluate()
        assert readiness.word is Level.DEGRADED
        name = kind.label.lower()
        assert f"EMS connections: no {name} has tested its connection lately" in readiness.sentence

    def test_one_that_does_not_run_is_reported_elsewhere(self) -> None:
        EmsReach.objects.filter(kind=Process.WATCHDOG).delete()
        stop_beating(Process.WATCHDOG)
        assert check(evaluate(), "ems_reach").ok

    def test_tests_that_are_missing_are_a_warning(self) -> None:
        EmsReach.objects.all().delete()
        readiness = evaluate()
        assert readiness.word is Level.DEGRADED
        assert "no worker and no watchdog has tested its connection lately" in readiness.sentence

    def test_strangers_learn_neither_host_nor_the_words_of_the_ems(self) -> None:
        reached_ems(Process.WORKER, problem="secret-account is locked")
        sentence = redacted_for_public(evaluate()).sentence
        assert "Worker cannot reach the EMS over a new connection" in sentence
        assert "alpha" not in sentence
        assert "secret-account" not in sentence


class TestAClickIsTriedOut:
    def test_it_leaves_nothing_behind(self) -> None:
        evaluate()
        assert not Batch.objects.exists()
        assert not CancelRequest.objects.exists()
        assert not AuditEvent.objects.exists()

    def test_a_log_that_takes_no_event_makes_it_not_ready(self) -> None:
        with full_log():
            readiness = evaluate()
        assert readiness.word is Level.NOT_READY
        assert readiness.sentence == (
            "Not ready. Database: a cancel cannot be recorded (the disk is full)."
        )
        assert evaluate().word is Level.READY, "it is tried again at once"

    def test_a_table_that_has_lost_a_column_makes_it_not_ready(self) -> None:
        """As a newer version may have left it, while its old processes run."""
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE cancels_batch RENAME COLUMN gesture TO gesture_was")
        try:
            readiness = evaluate()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE cancels_batch RENAME COLUMN gesture_was TO gesture")
        assert readiness.word is Level.NOT_READY
        assert "a cancel cannot be recorded" in readiness.sentence

    @pytest.mark.parametrize("failed", [False, True], ids=["all is well", "a click has failed"])
    def test_it_is_tried_seldom_while_it_works(
        self, monkeypatch: pytest.MonkeyPatch, *, failed: bool
    ) -> None:
        monkeypatch.setattr(outage._LastFailure, "at", float("-inf"))
        evaluate()
        if failed:
            outage.note_failure()
        with CaptureQueriesContext(connection) as queries:
            evaluate()
        assert any("INSERT" in query["sql"] for query in queries) is failed

    @pytest.mark.parametrize(
        ("migration", "sentence"),
        [
            (
                ("cancels", "9999_of_next_year"),
                "prepared by a newer version (cancels 9999_of_next_year): start that version here",
            ),
            (None, "1 migration of this version missing (readiness 0003_ems_reach): run `prepare`"),
        ],
        ids=["newer", "older"],
    )
    def test_a_database_of_another_version_is_a_warning(
        self, migration: tuple[str, str] | None, sentence: str
    ) -> None:
        recorder = MigrationRecorder(connection)
        if migration:
            recorder.record_applied(*migration)
        else:
            recorder.record_unapplied("readiness", "0003_ems_reach")
        try:
            readiness = evaluate()
        finally:
            if migration:
                recorder.record_unapplied(*migration)
            else:
                recorder.record_applied("readiness", "0003_ems_reach")
        assert readiness.word is Level.DEGRADED
        assert f"Database version: {sentence}" in readiness.sentence
