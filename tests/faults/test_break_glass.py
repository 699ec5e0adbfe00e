"""Processes die in the recovery of a journal, or lose their database; each cancel counts once."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.break_glass import recovery
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.press import ATTEMPT, CARRIED_ON, END, PRESS
from killswitch.cancels.models import Attempt, Batch, CancelRequest
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.simulator.server import Simulator
from tests.break_glass.conftest import PressNow, break_glass, home, journal
from tests.cancels.conftest import Press
from tests.cancels.kills import Fault, always
from tests.conftest import RedisProcess, wait_for
from tests.failures import database_gone
from tests.faults.test_processes import final, sent, status_of, worker_consumes
from tests.stack import ROOT, Stack

__all__ = ["break_glass", "home", "journal"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

REFUSAL: Fault = {"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490}

RECOVER_AND_DIE = """
import itertools, os, pkgutil, signal, sys
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.db import connections
from killswitch.break_glass import recovery
from killswitch.break_glass.journal import Journal

when, place, number = sys.argv[1:]
owner, name = place.rsplit(".", 1)
owner = type(connections["default"]) if owner == "database" else pkgutil.resolve_name(owner)
function, calls = getattr(owner, name), itertools.count(1)

def call_and_die(*args, **fields):
    is_last = next(calls) == int(number)
    if is_last and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = function(*args, **fields)
    if is_last:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, call_and_die)
recovery.recover(Journal(Path(settings.KILLSWITCH_HOME)))
"""

# The presses of the journal have five requests, of which one has not ended.
IN_MAKE_TEST = [
    "before killswitch.break_glass.recovery._record_recovery 1",
    "before database.commit 2",
    "after database.commit 3",
]
PLACES = [
    *IN_MAKE_TEST,
    "after killswitch.break_glass.journal.JournalReader.check_end 1",
    "after killswitch.break_glass.recovery._exchanges 1",
    "before killswitch.break_glass.recovery._record_request 4",
    "after killswitch.cancels.recording.record_attempt 1",
    "after killswitch.cancels.recording.record_attempt 4",
    "before killswitch.cancels.recording.finish 3",
    "after killswitch.break_glass.recovery.raise_alarm 2",
    "before killswitch.audit.appending.append 3",
    "after killswitch.audit.appending.append 4",
]


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=() if place in IN_MAKE_TEST else pytest.mark.faults)
        for place in PLACES
    ],
)
def test_a_recovery_that_is_killed_is_completed_by_the_next(
    place: str, stack: Stack, simulator: Simulator, break_glass: PressNow, journal: Journal
) -> None:
    fill(journal, simulator, break_glass)
    process = subprocess.run(
        [sys.executable, "-c", RECOVER_AND_DIE, *place.split()],
        env=stack.environment,
        cwd=ROOT,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    recovery.recover(journal)
    assert recovery.recover(journal) == recovery.Recovered(recorded=0, pending=0)
    assert_everything_is_recorded_once(journal, simulator)
    assert verify_audit(stack) == 0


def fill(journal: Journal, simulator: Simulator, break_glass: PressNow) -> None:
    """Make presses: confirmed, refused, on two exchanges, and one whose process died."""
    add_missing([ExchangeConfig(exchange_id="KRAKEN"), ExchangeConfig(exchange_id="BINANCE")])
    simulator.script("KRAKEN", orders=3)
    simulator.script("BINANCE", cancel=always("unauthorised"), orders=3)
    for exchange_ids in (["KRAKEN"], ["BINANCE"], ["KRAKEN", "BINANCE"], ["KRAKEN"]):
        break_glass(*exchange_ids, deadline_ms=3000, holder="of-a-process-that-is-dead")
    *kept, end = journal.read().lines
    assert end.kind == END
    journal.path.write_text("".join(f"{line.text}\n" for line in kept))
    journal._keep_head(kept[-1])


def assert_everything_is_recorded_once(journal: Journal, simulator: Simulator) -> None:
    lines = journal.read().lines
    presses = sorted(line.data["press"] for line in lines if line.kind == PRESS)
    assert sorted(str(batch.uuid) for batch in Batch.objects.all()) == presses
    posts, ends = len(simulator.calls()), sum(line.kind == END for line in lines)
    assert sum(line.kind == ATTEMPT for line in lines) == posts
    assert Attempt.objects.filter(by_dead_holder=False).count() == posts
    for kind, count in {
        EventKind.REQUESTED: CancelRequest.objects.count(),
        EventKind.ATTEMPT: posts,
        EventKind.FINISHED: ends,
        EventKind.BREAK_GLASS_RECORDED: len(presses),
    }.items():
        assert AuditEvent.objects.filter(kind=str(kind)).count() == count, kind
    alarms = Alarm.objects.filter(kind=AlarmKind.BREAK_GLASS).order_by("subject")
    assert list(alarms.values_list("subject", flat=True)) == presses


def verify_audit(stack: Stack) -> int:
    command = [sys.executable, str(ROOT / "manage.py"), "verify_audit"]
    return subprocess.run(command, env=stack.environment, check=False).returncode


@pytest.fixture
def host(stack: Stack, tmp_path: Path, settings: Any) -> Journal:
    """Return the journal of the host on which the processes of the stack run."""
    settings.KILLSWITCH_HOME = tmp_path
    stack.set(CANCEL_DEADLINE=30)
    add_missing([ExchangeConfig(exchange_id=name) for name in ("WARM-UP", "KRAKEN")])
    return Journal(tmp_path)


def count(journal: Journal, kind: str) -> int:
    return sum(line.kind == kind for line in journal.read().lines)


def test_a_worker_goes_on_without_its_database_and_records_it_afterwards(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press, host: Journal
) -> None:
    worker_consumes(stack, simulator, press)
    simulator.script("KRAKEN", cancel=[{**REFUSAL, "delay": 0.7}, REFUSAL, "ok"], orders=3)
    (request,) = press("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=5)
    with database_gone():
        wait_for(lambda: count(host, END) == 1, seconds=15)
        assert simulator.really_open("KRAKEN") == 0
    wait_for(final(request), seconds=10)
    assert status_of(request) == "CONFIRMED"
    assert request.attempts.count() == len(simulator.calls("KRAKEN")) == 3
    assert verify_audit(stack) == 0


@pytest.mark.faults
def test_a_worker_that_is_killed_without_its_database_is_replaced_when_it_is_back(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press, host: Journal
) -> None:
    worker = worker_consumes(stack, simulator, press)
    stack.watchdog()
    wait = {"fault": "too_many", "retry_after": "4"}
    simulator.script("KRAKEN", cancel=[{**REFUSAL, "delay": 0.7}, wait, "ok"], orders=3)
    (request,) = press("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=5)
    with database_gone():
        wait_for(lambda: count(host, ATTEMPT) == 2, seconds=15)
        worker.kill()
        worker.wait()
    assert count(host, CARRIED_ON) == 1
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"
    sent_attempts = request.attempts.filter(by_dead_holder=False)
    assert sent_attempts.count() == len(simulator.calls("KRAKEN"))
    assert request.attempts.filter(by_dead_holder=True).count() == 1
    assert verify_audit(stack) == 0
