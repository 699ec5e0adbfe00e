"""Kills whose database goes away: they go on, and their rows are settled exactly once."""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.db import DatabaseError, Error, IntegrityError, ProgrammingError

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.break_glass import recovery, request_recovery
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.journal_reader import Line
from killswitch.break_glass.journal_record import JournalRecord
from killswitch.break_glass.press import ATTEMPT, CARRIED_ON, END, SENDING
from killswitch.cancels import execution, leases, request_record, thread_slots, watchdog
from killswitch.cancels.conclusion import AttemptSummary
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.pacing import MAX_PAUSE_S
from killswitch.cancels.states import IN_FLIGHT
from killswitch.ems.client import get_client
from killswitch.exchanges import registry
from killswitch.holds.enforcement import Enforcer
from killswitch.runtime.shutdown import STOP
from killswitch.simulator.server import Simulator
from tests.audit.assertions import assert_good
from tests.cancels.conftest import Press, press
from tests.cancels.kills import Fault, always, snapshot
from tests.conftest import wait_for
from tests.failures import commit_without_answer, commits, database_gone
from tests.holds.conftest import (
    HoldExchange,
    blind_after_s,
    enforced,
    hold,
    trading_after_s,
)
from tests.threads import run_at_once

__all__ = ["blind_after_s", "enforced", "hold", "press", "trading_after_s"]

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "unpublished", "home"),
]


@pytest.fixture(autouse=True)
def short_deadline(settings: Any) -> None:
    settings.EMS_TIMEOUT = 1
    settings.CANCEL_DEADLINE = 8


@pytest.fixture
def cancel(press: Press) -> CancelRequest:
    """Request a cancel, which no process carries out yet."""
    registry.add_missing([registry.ExchangeConfig(exchange_id="KRAKEN")])
    (request,) = press("KRAKEN")
    return request


def recover(journal: Journal) -> int:
    return recovery.recover(journal).recorded


def lines(journal: Journal, kind: str) -> list[Line]:
    return [line for line in journal.read().lines if line.kind == kind]


def row_of(request: CancelRequest) -> CancelRequest:
    return CancelRequest.objects.get(pk=request.pk)


def start(request: CancelRequest, until: Callable[[], bool]) -> None:
    execution.run(ids=[request.pk])
    wait_for(until, seconds=10)


def received(simulator: Simulator, method: str = "POST", *, count: int = 1) -> Callable[[], bool]:
    return lambda: len(simulator.calls("KRAKEN", method)) >= count


def assert_recorded_once(request: CancelRequest, simulator: Simulator) -> None:
    """Assert that each POST is one attempt of the row and one event of a log that is good."""
    row = row_of(request)
    posts = len(simulator.calls("KRAKEN"))
    numbers = list(row.attempts.order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, posts + 1))
    assert row.attempt_count == posts
    assert list(row.attempts.order_by("started_at")) == list(row.attempts.order_by("number"))
    kinds = AuditEvent.objects.filter(request_id=str(row.uuid)).values_list("kind", flat=True)
    assert list(kinds).count(str(EventKind.ATTEMPT)) == posts
    assert list(kinds).count(str(EventKind.FINISHED)) == 1
    assert_good(verify())


SLOW: list[Fault] = [{"fault": "slow", "seconds": 0.5}]
REFUSAL: Fault = {"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490}
# What the EMS does; the database goes away while this call is under way; the status in the end.
CASES: dict[str, tuple[dict[str, Any], tuple[str, int], str]] = {
    "before the first attempt": ({"cancel": SLOW}, ("POST", 1), "CONFIRMED"),
    "between attempts": (
        {"cancel": [REFUSAL, {**REFUSAL, "delay": 0.5}, REFUSAL, "ok"]},
        ("POST", 2),
        "CONFIRMED",
    ),
    "before the end": ({"list": [*SLOW, "ok"]}, ("GET", 1), "CONFIRMED"),
    "and it is refused": ({"cancel": always("unauthorised", delay=0.5)}, ("POST", 1), "REJECTED"),
    "and orders remain": ({"cancel": always("acknowledged_only")}, ("POST", 1), "RESIDUAL"),
    "and the EMS is silent": (
        {"cancel": always("silent"), "list": always("silent")},
        ("POST", 1),
        "UNKNOWN",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_kill_goes_on_and_its_row_is_settled_exactly_once(
    case: str,
    simulator: Simulator,
    cancel: CancelRequest,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if it had ended some time ago.
    monkeypatch.setattr(request_recovery, "MAX_WATCHED_AGE_S", 0.0)
    script, (method, count), status = CASES[case]
    simulator.script("KRAKEN", orders=3, **script)
    start(cancel, received(simulator, method, count=count))
    with database_gone():
        wait_for(thread_slots.idle, seconds=20)
    assert row_of(cancel).status in IN_FLIGHT
    (end,) = lines(journal, END)
    counts = run_at_once(*[lambda: recover(Journal(journal.path.parent))] * 4)
    assert sorted(counts) == [0, 0, 0, 1]
    assert recover(journal) == 0
    row = row_of(cancel)
    assert (row.status, row.conclusion) == (status, end.data["conclusion"])
    assert row.finished_at
    assert utc_text(row.finished_at) == end.data["finished_at"]
    assert row.finished_revision is None
    assert row.reads == len(simulator.calls("KRAKEN", "GET"))
    assert Alarm.objects.filter(kind=AlarmKind.OUTCOME).count() == (status != "CONFIRMED")
    assert_recorded_once(cancel, simulator)


def test_each_post_is_announced_before_it_is_sent_and_sent_in_time(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    first = {**REFUSAL, "delay": 0.5}
    simulator.script("KRAKEN", cancel=[first, REFUSAL, REFUSAL, "ok"], orders=3)
    start(cancel, received(simulator))
    with database_gone():
        wait_for(thread_slots.idle, seconds=20)
    assert len(lines(journal, CARRIED_ON)) == 1
    sending, attempts = lines(journal, SENDING), lines(journal, ATTEMPT)
    assert (len(sending), len(attempts)) == (3, 4)  # the claim announces the first
    for announced, attempt in zip(sending, attempts[1:], strict=True):
        assert announced.seq == attempt.seq - 1
        assert announced.at <= attempt.data["started_at"]
    times = [call.received_monotonic for call in simulator.calls("KRAKEN")]
    longest_s = 2.0 + MAX_PAUSE_S + 1  # the wait for the database, and the pause
    assert max(later - earlier for earlier, later in pairwise(times)) < longest_s


@pytest.mark.parametrize("lost", ["POST", "GET"], ids=["attempt", "end"])
def test_what_was_written_before_the_answer_was_lost_is_not_recorded_twice(
    lost: str, simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=SLOW, list=[*SLOW, "ok"], orders=3)
    start(cancel, received(simulator, lost))
    with commits(commit_without_answer):
        wait_for(thread_slots.idle, seconds=20)
    assert cancel.attempts.count() == 1
    assert row_of(cancel).is_final == (lost == "GET")
    assert [line.kind for line in journal.read().lines][-1] == END
    assert recover(journal) == (lost == "POST")
    assert row_of(cancel).status == "CONFIRMED"
    assert_recorded_once(cancel, simulator)


def test_a_post_that_was_announced_by_a_dead_process_counts_as_sent(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    simulator.script("KRAKEN", orders=3)
    (lease,) = leases.claim([cancel.pk])
    leases.stop_renewing(lease)
    JournalRecord.of_lease(lease).announce_attempt()
    recover(journal)
    take_over(cancel)
    wait_for(lambda: row_of(cancel).is_final, seconds=20)
    attempts = cancel.attempts.order_by("number")
    assert [attempt.by_dead_holder for attempt in attempts] == [True, False]
    assert_good(verify())


def take_over(request: CancelRequest) -> None:
    """Take the request over as a watchdog does that has not seen it change for a while."""

    def is_taken_over() -> bool:
        execution.take_over_abandoned([snapshot(request)])
        return row_of(request).lease_token != holder

    holder = row_of(request).lease_token
    wait_for(is_taken_over, seconds=5)  # its holder may just have renewed the lease


def test_a_kill_that_was_taken_over_meanwhile_does_not_cancel_later_orders(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=[{**REFUSAL, "delay": 0.5}, REFUSAL, REFUSAL], orders=3)
    start(cancel, received(simulator))
    with database_gone():
        wait_for(lambda: len(lines(journal, ATTEMPT)) == 2, seconds=10)
    simulator.script("KRAKEN", cancel=["ok"])
    take_over(cancel)
    wait_for(lambda: row_of(cancel).is_final, seconds=5)
    simulator.place("KRAKEN", 7)
    wait_for(thread_slots.idle, seconds=20)
    assert simulator.really_open("KRAKEN") == 7
    recover(journal)
    row = row_of(cancel)
    assert (row.status, row.attempt_count) == ("CONFIRMED", len(simulator.calls("KRAKEN")) + 1)
    assert recover(journal) == 0
    assert_good(verify())


def test_an_end_in_the_journal_does_not_replace_what_the_next_holder_finds(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=always("unauthorised", delay=0.5), orders=3)
    start(cancel, received(simulator))
    with database_gone():
        wait_for(thread_slots.idle, seconds=20)
    simulator.script("KRAKEN", cancel=["ok"], list=SLOW)
    take_over(cancel)
    assert sum(run_at_once(*[lambda: recover(Journal(journal.path.parent))] * 4)) == 1
    wait_for(lambda: row_of(cancel).is_final, seconds=10)
    row = row_of(cancel)
    posts = len(simulator.calls("KRAKEN"))
    assert (row.status, row.attempt_count) == ("CONFIRMED", posts + 1)
    numbers = row.attempts.order_by("number").values_list("number", "by_dead_holder")
    assert [number for number, _ in numbers] == list(range(1, posts + 2))
    assert numbers[0] == (1, True)
    assert recover(journal) == 0
    assert_good(verify())


def test_each_attempt_belongs_to_the_lease_under_which_it_was_sent(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    """Two processes of one host carry the request out, and both have lost the database."""
    (first,) = leases.claim([cancel.pk])
    second = leases.take_over(snapshot(cancel))
    assert second
    records = [JournalRecord.of_lease(lease) for lease in (first, second)]
    for number in (0, 1, 0):
        answer = get_client().cancel_all("KRAKEN", timeout=1)
        records[number].attempt(answer, next_attempt_at=None)
    for lease in (first, second):
        leases.stop_renewing(lease)
    assert recover(journal) == 2
    sent = cancel.attempts.filter(by_dead_holder=False).order_by("started_at")
    holders = [first.token, second.token, first.token]
    assert list(sent.values_list("holder", flat=True)) == holders
    assert_good(verify())


def test_a_watchdog_leaves_what_was_carried_out_meanwhile_to_the_recovery(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    """It could be taken over in the moment in which the database is back, and be sent again."""
    simulator.script("KRAKEN", cancel=SLOW, orders=3)
    start(cancel, received(simulator))
    detector = watchdog.StallDetector()
    watchdog.check_once(detector)
    gone_at = time.monotonic()
    with database_gone():
        wait_for(thread_slots.idle, seconds=20)
        wait_for(lambda: time.monotonic() > gone_at + watchdog.ABANDONED_AFTER_S, seconds=10)
        with pytest.raises(Error):
            watchdog.check_once(detector)
    watchdog.check_once(detector)
    assert recover(journal) == 1
    watchdog.check_once(detector)
    simulator.place("KRAKEN", 7)
    assert thread_slots.idle()
    assert row_of(cancel).status == "CONFIRMED"
    assert simulator.really_open("KRAKEN") == 7


def test_a_kill_that_is_shut_down_before_it_is_settled_is_not_released(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    """The next holder would not know of a cancel that may have been carried out."""
    unread = always("server_error", status=503)
    simulator.script("KRAKEN", cancel=[{"fault": "silent"}, REFUSAL], list=unread, orders=3)
    start(cancel, received(simulator))
    with database_gone():
        wait_for(lambda: bool(lines(journal, ATTEMPT)), seconds=10)
    STOP.set()
    wait_for(thread_slots.idle, seconds=5)
    STOP.clear()
    assert row_of(cancel).lease_token
    simulator.script("KRAKEN", cancel=always("unauthorised"))
    take_over(cancel)
    wait_for(lambda: row_of(cancel).is_final, seconds=20)
    assert row_of(cancel).status == "UNKNOWN"
    recover(journal)
    assert_good(verify())


def test_earlier_attempts_that_cannot_be_read_may_have_been_carried_out(
    simulator: Simulator, cancel: CancelRequest, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_record, "MAX_WAIT_S", 0.0)
    leases.claim([cancel.pk])
    lease = leases.take_over(snapshot(cancel))
    assert lease
    with database_gone():
        (attempt,) = request_record.RequestRecord(lease).earlier_attempts()
    leases.stop_renewing(lease)
    assert AttemptSummary.of([attempt]).possible


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DatabaseError("database disk image is malformed"), request_record.DatabaseGone),
        (IntegrityError("not null"), IntegrityError),
        (ProgrammingError("no such column"), ProgrammingError),
    ],
)
def test_a_damaged_database_is_a_database_that_is_gone_and_a_defect_is_not(
    error: Exception,
    expected: type[Exception],
    cancel: CancelRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_record, "MAX_WAIT_S", 0.0)
    (lease,) = leases.claim([cancel.pk])
    leases.stop_renewing(lease)

    def fail(_request_id: int, _token: str) -> None:
        raise error

    with pytest.raises(expected):
        request_record.RequestRecord(lease).write(fail)


def test_without_database_and_disk_the_cancel_goes_out_and_counts_as_sent(
    simulator: Simulator, cancel: CancelRequest, journal: Journal
) -> None:
    simulator.script("KRAKEN", cancel=SLOW, orders=3)
    journal.path.mkdir()
    start(cancel, received(simulator))
    with database_gone():
        wait_for(thread_slots.idle, seconds=20)
    assert simulator.really_open("KRAKEN") == 0
    assert row_of(cancel).status in IN_FLIGHT
    take_over(cancel)
    wait_for(lambda: row_of(cancel).is_final, seconds=10)
    first = cancel.attempts.get(number=1)
    assert (first.by_dead_holder, first.outcome) == (True, "UNKNOWN")


def test_a_hold_goes_on_cancelling_and_its_episode_ends_when_the_database_is_back(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer, journal: Journal
) -> None:
    hold("KRAKEN")
    simulator.place("KRAKEN", 2)
    wait_for(received(simulator), seconds=10)
    with database_gone():
        wait_for(lambda: bool(lines(journal, CARRIED_ON)), seconds=10)
        for _ in range(2):
            simulator.place("KRAKEN", 2)
            wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=10)
    assert len(lines(journal, SENDING)) >= 2
    rows = CancelRequest.objects.all()
    detector = watchdog.StallDetector()

    def has_ended() -> bool:
        recover(journal)
        watchdog.check_once(detector)
        return all(row.is_final for row in rows.all())

    wait_for(has_ended, seconds=30)
    recover(journal)
    sent = Attempt.objects.filter(by_dead_holder=False)
    assert sent.count() == len(simulator.calls("KRAKEN"))
    assert {row.status for row in rows.all()} == {"CONFIRMED"}
    assert_good(verify())
