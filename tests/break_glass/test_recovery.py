"""The journal in the log: exactly once, with its own times, whatever happened to it before."""

import os
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify
from killswitch.break_glass import exchange_snapshot, holders, press, recovery
from killswitch.break_glass.journal import FILE, Journal
from killswitch.break_glass.press import END
from killswitch.break_glass.telephone import html_copy
from killswitch.cancels.models import Attempt, Batch, CancelRequest
from killswitch.cancels.states import FINAL
from killswitch.compliance.outcomes import DateRange, Times, of_range
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator
from tests import factories
from tests.audit.assertions import assert_found, assert_good
from tests.break_glass.conftest import PressNow, keep_only
from tests.cancels.kills import always
from tests.conftest import wait_for
from tests.failures import failing
from tests.threads import run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def short_deadline(settings: Any) -> None:
    settings.CANCEL_DEADLINE = 3
    settings.EMS_TIMEOUT = 1


def recover(journal: Journal) -> int:
    return recovery.recover(journal).recorded


def drop_lines(journal: Journal, *, kind: str) -> None:
    """Leave what a process that was killed would have left: no line of this kind or after it."""
    lines = journal.read().lines
    count = next(number for number, line in enumerate(lines) if line.kind == kind)
    keep_only(journal, lines[:count])


def test_a_press_becomes_a_batch_with_requests_and_attempts_like_any_other(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    kraken, binance = factories.exchange("KRAKEN"), factories.exchange("BINANCE")
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    simulator.script("BINANCE", cancel=always("unauthorised"), orders=3)
    running = break_glass("KRAKEN", "BINANCE", by=olga, address="192.0.2.7", gesture="held 1 s")
    assert recover(journal) == 1
    batch = Batch.objects.get()
    assert str(batch.uuid) == running.press.uuid
    assert (batch.by, batch.by_name, batch.by_role) == (olga, olga.actor.name, olga.actor.role)
    assert (batch.origin, batch.reason, batch.address) == ("BREAK_GLASS", "Drill", "192.0.2.7")
    assert batch.asked_at == datetime.fromisoformat(running.press.asked_at)
    assert batch.journal == f"{journal.read().lines[0].journal} 1"
    for state, exchange in zip(running.states, (kraken, binance), strict=True):
        request = CancelRequest.objects.get(uuid=state.request)
        assert request.configured_exchange == exchange
        assert (request.status, request.conclusion) == (state.status, state.sentence)
        assert (request.attempt_count, request.open_after) == (state.attempts, state.open_after)
        assert request.first_claimed_at == batch.asked_at
        assert len(simulator.calls(state.exchange_id)) == request.attempts.count()
    ends = [line.data for line in journal.read().lines if line.kind == END]
    rows = CancelRequest.objects.all()
    assert {(end["request"], end["reads"], end["finished_at"]) for end in ends} == {
        (str(row.uuid), row.reads, utc_text(row.finished_at)) for row in rows if row.finished_at
    }


def test_it_is_an_alarm_of_its_own_and_one_for_each_bad_outcome(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    factories.exchange("BINANCE")
    simulator.script("BINANCE", cancel=always("unauthorised"), orders=3)
    break_glass("BINANCE")
    recover(journal)
    kinds = Alarm.objects.order_by("kind").values_list("kind", flat=True)
    assert list(kinds) == [AlarmKind.BREAK_GLASS, AlarmKind.OUTCOME]
    alarm = Alarm.objects.get(kind=AlarmKind.BREAK_GLASS)
    assert alarm.title == "os:root cancelled on 1 exchange by break glass."


def test_every_page_of_compliance_says_that_it_was_sent_by_break_glass(
    simulator: Simulator, break_glass: PressNow, journal: Journal, client: Client
) -> None:
    olga = factories.person(Role.RISK_OFFICER)
    factories.exchange("KRAKEN")
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    running = break_glass("KRAKEN", by=olga)
    recover(journal)
    client.force_login(factories.person(Role.COMPLIANCE))

    def page(path: str) -> str:
        return " ".join(client.get(path).content.decode().split())

    press, (state,) = running.press, running.states
    place = f"from the journal {journal.read().lines[0].journal}, line 1."
    for path in (f"/requests/{state.request}/", f"/batches/{press.press}/"):
        assert f"Sent by break glass, without the log. Recorded here afterwards, {place}" in page(
            path
        )
    pack = page(f"/batches/{press.press}/evidence/")
    assert place in pack
    assert "Break-glass cancel recorded" in pack
    assert "cancelled on 1 exchange by break glass." in pack
    asked_at = press.asked_at[:19].replace("T", " ")
    assert f"Sent by break glass at {asked_at} UTC, recorded afterwards." in page("/audit/")
    assert "by break glass; the time is when it was recorded" in page("/audit/review/")
    assert "by break glass" in page("/requests/")
    today, no_times = datetime.now(UTC).date(), Times(median=None, maximum=None)
    (day,) = of_range(DateRange(first=today, last=today)).days
    assert (day.counts["CONFIRMED"], day.answer, day.outcome) == (1, no_times, no_times)


def test_nothing_is_recorded_twice(
    simulator: Simulator, break_glass: PressNow, journal: Journal, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN")
    counts = run_at_once(*[lambda: recover(Journal(home))] * 4)
    assert sorted(counts) == [0, 0, 0, 1]
    break_glass("KRAKEN")
    assert [recover(journal), recover(journal)] == [1, 0]
    assert (Batch.objects.count(), Attempt.objects.count()) == (2, 2)
    assert_good(verify())


def test_two_hosts_have_a_journal_each(
    simulator: Simulator, break_glass: PressNow, journal: Journal, home: Path, settings: Any
) -> None:
    factories.exchange("KRAKEN")
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN")
    first = journal.path.rename(home / "first.jsonl")
    head = (home / "break_glass_head.json").rename(home / "first_head.json")
    break_glass("KRAKEN")
    other = home / "other"
    other.mkdir()
    first.rename(other / FILE)
    head.rename(other / "break_glass_head.json")
    assert [recover(journal), recover(Journal(other))] == [1, 1]
    assert Batch.objects.values("journal").distinct().count() == 2
    assert len(simulator.calls("KRAKEN")) == Attempt.objects.count() == 2


def test_an_exchange_that_is_not_configured_is_added_disabled(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    simulator.script("OKEX", cancel=["ok"], orders=5)
    break_glass("OKEX")
    recover(journal)
    exchange = Exchange.objects.get()
    assert (exchange.exchange_id, exchange.enabled) == ("OKEX", False)
    assert_good(verify())


def test_a_person_who_was_deleted_or_never_existed_stays_by_name(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    ghost = User(pk=4711, username="gone", full_name="Gone", role=Role.RISK_OFFICER)
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", by=ghost)
    assert recover(journal) == 1
    batch = Batch.objects.get()
    assert (batch.by, batch.by_name) == (None, "Gone (gone)")
    assert_good(verify())


def test_a_press_that_is_carried_out_is_left_until_it_is_over(
    simulator: Simulator, break_glass: PressNow, journal: Journal, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder=holders.own_name(home))
    drop_lines(journal, kind=END)
    assert recovery.recover(journal) == recovery.Recovered(recorded=0, pending=1)


@pytest.mark.parametrize("lost", ["ATTEMPT", END])
def test_what_a_dead_process_had_begun_is_carried_on(
    simulator: Simulator, break_glass: PressNow, journal: Journal, lost: str
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder="of-a-process-that-is-dead")
    drop_lines(journal, kind=lost)
    assert recover(journal) == 1
    request = CancelRequest.objects.get()
    assert (request.status, bool(request.lease_token)) == ("SENDING", True)
    assert request.attempt_count == (1 if lost == END else 0)
    assert_good(verify())


@pytest.mark.parametrize("lost", ["ATTEMPT", END])
def test_what_a_dead_process_had_begun_long_ago_is_not_sent_again(
    simulator: Simulator,
    break_glass: PressNow,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder="of-a-process-that-is-dead")
    drop_lines(journal, kind=lost)
    monkeypatch.setattr(recovery, "MAX_RESUMED_AGE_S", 0.0)
    assert recover(journal) == 1
    request = CancelRequest.objects.get()
    assert request.status in FINAL
    assert request.status == ("UNKNOWN" if lost == "ATTEMPT" else "UNVERIFIED")
    assert request.attempt_count == 1
    assert Alarm.objects.filter(kind=AlarmKind.OUTCOME).exists()
    assert len(simulator.calls("KRAKEN")) == 1
    assert_good(verify())


def test_a_line_that_was_changed_before_the_recovery_is_not_believed_and_found(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder="of-a-process-that-is-dead")
    changed = journal.path.read_text().replace('"CONFIRMED"', '"RESIDUAL"')
    journal.path.write_text(changed)
    recover(journal)
    assert CancelRequest.objects.get().status not in {"RESIDUAL", "CONFIRMED"}
    assert_found(verify(), Proof.TABLES, FILE)
    event = AuditEvent.objects.get(kind=str(EventKind.BREAK_GLASS_RECORDED))
    assert "not a line as it was written" in event.data


@pytest.mark.parametrize("text", ['"CONFIRMED"', '"Drill"', '"ACKNOWLEDGED"'])
def test_a_line_that_was_changed_after_the_recovery_is_found(
    simulator: Simulator, break_glass: PressNow, journal: Journal, text: str
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN")
    recover(journal)
    assert_good(verify())
    journal.path.write_text(journal.path.read_text().replace(text, '"X"'))
    assert_found(verify(), Proof.TABLES, FILE)


def test_a_journal_that_was_removed_after_the_recovery_is_found(
    simulator: Simulator, break_glass: PressNow, journal: Journal, home: Path
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN")
    recover(journal)
    journal.path.unlink()
    (home / "break_glass_head.json").unlink()
    assert_found(verify(), Proof.TABLES, FILE)


def press_data(**fields: Any) -> dict[str, Any]:
    """Return the data of a press of 2001, of a process that is dead."""
    values: dict[str, Any] = {
        "by_name": "os:root",
        "by_role": "OPERATING_SYSTEM",
        "reason": "",
        "user_id": None,
    }
    values |= {"press": str(uuid4()), "nonce": token_hex(8), "origin": "BREAK_GLASS"}
    values |= {"asked_at": "2001-01-01T00:00:00.000000Z", "reason_altered": False}
    return {**values, "deadline_ms": 3000, "holder": "dead", "requests": [row()], **fields}


def row(**fields: Any) -> dict[str, Any]:
    return {"request": str(uuid4()), "exchange_id": "KRAKEN", **fields}


TAKEN = str(uuid4())
# Sealed lines that this software did not write, such as those of another version.
FOREIGN_PRESSES: dict[str, dict[str, Any]] = {
    "another field": {"mood": "bad"},
    "no UUID": {"press": "1"},
    "no time": {"asked_at": "yesterday"},
    "no time zone": {"asked_at": "2001-01-01T00:00:00"},
    "a year out of range": {"asked_at": "99999-01-01T00:00:00Z"},
    "a deadline that is text": {"deadline_ms": "soon"},
    "no holder": {"holder": None},
    "NUL in the holder": {"holder": "\0"},
    "no requests": {"requests": []},
    "requests that are text": {"requests": "KRAKEN"},
    "a request without its UUID": {"requests": [row(request="KRAKEN")]},
    "an ID that is too long": {"requests": [row(exchange_id="K" * 10_000)]},
    "an ID that is a number": {"requests": [row(exchange_id=5)]},
    "an ID with NUL": {"requests": [row(exchange_id="K\0")]},
    "a huge figure": {"requests": [row(open_before=2**50)]},
    "a wrong time of a figure": {"requests": [row(open_before_seen_at="x")]},
    "one exchange twice": {"requests": [row(), row()]},
    "a UUID that is taken": {"requests": [row(request=TAKEN)]},
}


@pytest.mark.parametrize("case", FOREIGN_PRESSES)
def test_a_press_that_cannot_be_recorded_is_an_alarm_and_stops_no_other(
    journal: Journal, case: str
) -> None:
    journal.append("PRESS", press_data(requests=[row(request=TAKEN)]))
    journal.append("PRESS", press_data(**FOREIGN_PRESSES[case]))
    journal.append("ATTEMPT", {"token": "t", "request": 5})
    journal.append("END", {"token": "t", "request": str(uuid4()), "status": "GONE"})
    journal.append("UNKNOWN", {"request": TAKEN})
    good = press_data()
    journal.append("PRESS", good)
    assert [recover(journal), recover(journal)] == [2, 0]
    assert Batch.objects.filter(uuid=good["press"]).exists()
    title = "Line 2 of the journal of host"
    alarms = Alarm.objects.filter(title__startswith=title, title__endswith="cannot be recorded.")
    assert alarms.count() == 1
    assert Alarm.objects.filter(title__endswith="cannot be recorded.").count() == 3
    if case not in ("one exchange twice", "a UUID that is taken"):  # as only the database knows
        assert_found(verify(), Proof.TABLES, FILE, "cannot be recorded")


def test_of_a_press_everything_is_recorded_that_can_be(journal: Journal) -> None:
    rows = [row(), row(exchange_id="K" * 10_000), row(exchange_id="BINANCE")]
    journal.append("PRESS", press_data(requests=rows))
    journal.append("END", {"request": rows[2]["request"], "status": "CONFIRMED"})
    assert [recover(journal), recover(journal)] == [1, 0]
    assert str(CancelRequest.objects.get().uuid) == rows[0]["request"]
    alarm = Alarm.objects.get(kind=AlarmKind.BREAK_GLASS)
    for lost in rows[1:]:
        assert f"Request {lost['request']} cannot be recorded" in alarm.detail
    assert_found(verify(), Proof.TABLES, FILE, "cannot be recorded")


def test_lines_whose_press_was_not_journaled_are_an_alarm(
    simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "slow", "seconds": 0.5}], orders=5)
    with failing("killswitch.break_glass.journal._write"):  # a disk that is full for a moment
        running = break_glass("KRAKEN", wait=False)
    wait_for(lambda: running.is_over, seconds=10)
    assert [line.kind for line in journal.read().lines] == ["ATTEMPT", END]
    assert [recover(journal), recover(journal)] == [0, 0]
    assert "its press was not journaled" in Alarm.objects.get().detail
    assert_found(verify(), Proof.TABLES, FILE, "its press was not journaled")


def test_a_press_of_a_live_process_whose_end_was_not_written_is_recorded_when_it_must_be_over(
    simulator: Simulator,
    break_glass: PressNow,
    journal: Journal,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a full disk its lines end early, and its process may run for months."""
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder=holders.own_name(home))
    drop_lines(journal, kind=END)
    assert recover(journal) == 0
    for module in (recovery, press):
        monkeypatch.setattr(module, "MAX_RESUMED_AGE_S", 0.0)
    monkeypatch.setattr(press, "MAX_OVERTIME_S", -60.0)
    assert recover(journal) == 1
    assert CancelRequest.objects.get().status == "UNVERIFIED"


@pytest.mark.parametrize("year", ["1969", "2999"])
def test_a_press_with_the_time_of_a_wrong_clock_is_not_sent_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, year: str
) -> None:
    at = f"{year}-01-01T00:00:00.000000Z"
    monkeypatch.setattr("killswitch.break_glass.journal.canonical_json.utc_text", lambda _: at)
    journal.append("PRESS", press_data(asked_at=at))
    monkeypatch.undo()
    assert recover(journal) == 1
    assert CancelRequest.objects.get().status == "UNKNOWN"


def test_one_process_of_a_host_keeps_its_files(home: Path) -> None:
    from killswitch.break_glass.upkeep import Upkeep

    factories.exchange("KRAKEN")
    Upkeep(home).keep_files()
    snapshot = home / exchange_snapshot.FILE
    assert b"KRAKEN" in snapshot.read_bytes()
    assert (home / html_copy.FILE).exists()
    with connection.execute_wrapper(lambda *_: pytest.fail("a query")):
        Upkeep(home).keep_files()
    factories.exchange("BINANCE")
    os.utime(snapshot, (0, 0))
    Upkeep(home).keep_files()
    assert b"BINANCE" in snapshot.read_bytes()


def test_a_database_without_a_journal_costs_no_query(journal: Journal) -> None:
    from killswitch.break_glass.upkeep import Upkeep

    with connection.execute_wrapper(lambda *_: pytest.fail("a query")):
        Upkeep(journal.path.parent).recover()


def test_a_press_whose_process_ends_while_the_database_hangs_is_read_again(
    simulator: Simulator,
    break_glass: PressNow,
    journal: Journal,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise it would be recorded without its end, and sent again."""
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder=holders.own_name(home))
    whole = journal.path.read_bytes()
    drop_lines(journal, kind=END)
    is_alive = holders.is_alive

    def ends_now(home: Path, name: str) -> bool:
        journal.path.write_bytes(whole)  # its last lines are written just before it ends
        return False

    monkeypatch.setattr(holders, "is_alive", ends_now)
    assert recover(journal) == 1
    assert CancelRequest.objects.get().status == "CONFIRMED"
    assert is_alive(home, holders.own_name(home))


def test_a_press_without_a_holder_may_be_carried_out_for_as_long_as_it_can_take(
    simulator: Simulator, break_glass: PressNow, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.script("KRAKEN", cancel=["ok"], orders=5)
    break_glass("KRAKEN", holder="")
    drop_lines(journal, kind=END)
    assert recovery.recover(journal) == recovery.Recovered(recorded=0, pending=1)
    monkeypatch.setattr(press, "MAX_OVERTIME_S", -60.0)
    assert recover(journal) == 1


def test_a_holder_whose_file_cannot_be_read_may_be_alive(home: Path) -> None:
    assert not holders.is_alive(home, "that never was")
    (home / f"{holders.PREFIX}loop").symlink_to(home / f"{holders.PREFIX}loop")
    assert holders.is_alive(home, "loop")
