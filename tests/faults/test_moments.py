"""Processes killed at the worst moments: before the call, after the answer, in a takeover."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from killswitch.cancels import leases
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Ask
from tests.conftest import RedisProcess, wait_for
from tests.faults import concurrency
from tests.faults.test_processes import final, sent, status_of, worker_consumes
from tests.stack import ROOT, Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

RECORD_AND_DIE = """
import os, signal
import django
django.setup()
from killswitch.audit.chain import Actor
from killswitch.cancels import publishing, services
from killswitch.exchanges.models import Exchange
publishing.publish = lambda ids: os.kill(os.getpid(), signal.SIGKILL)
services.request_cancel_from_command_line(
    exchanges=list(Exchange.objects.all()), everywhere=True, who=Actor(name="web"), reason=""
)
"""


def test_a_web_process_killed_right_after_the_commit_loses_nothing(
    stack: Stack, simulator: Simulator, transactional_db: None
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.place("KRAKEN", 2)
    died = subprocess.run(
        [sys.executable, "-c", RECORD_AND_DIE], env=stack.environment, cwd=ROOT, check=False
    )
    assert died.returncode == -signal.SIGKILL
    request = CancelRequest.objects.get()
    stack.watchdog()
    wait_for(final(request), seconds=20)
    assert status_of(request) == "CONFIRMED"


@contextmanager
def a_port_that_never_accepts() -> Iterator[str]:
    """Its queue is full, so connecting to it neither succeeds nor fails."""
    with socket.socket() as listener, contextmanager_of_sockets() as crowd:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
            crowd.append(waiting)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def contextmanager_of_sockets() -> Iterator[list[socket.socket]]:
    crowd: list[socket.socket] = []
    try:
        yield crowd
    finally:
        for each in crowd:
            each.close()


def test_a_worker_killed_before_the_call_is_rescued_with_a_call(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, ask: Ask
) -> None:
    with a_port_that_never_accepts() as deaf:
        stack.set(EMS_BASE_URL=deaf, EMS_CONNECT_TIMEOUT=20, EMS_TIMEOUT=20, CANCEL_DEADLINE=60)
        worker = stack.worker()
        (request,) = ask("KRAKEN")
        row = CancelRequest.objects.filter(pk=request.pk)
        wait_for(lambda: row.get().status == "SENDING", seconds=20)
        worker.kill()
    simulator.place("KRAKEN", 2)
    stack.set(EMS_BASE_URL=simulator.url, EMS_TIMEOUT=2)
    stack.watchdog()
    wait_for(final(request), seconds=20)
    assert status_of(request) == "CONFIRMED"
    assert len(simulator.calls("KRAKEN")) == 1


@contextmanager
def a_log_that_cannot_be_written(request: CancelRequest) -> Iterator[None]:
    """Another connection keeps what the recording of an attempt needs."""
    with transaction.atomic():
        CancelRequest.objects.select_for_update().get(pk=request.pk)
        yield


def test_a_worker_killed_between_the_answer_and_its_record_is_rescued(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, ask: Ask
) -> None:
    stack.set(CANCEL_DEADLINE=30)
    worker = worker_consumes(stack, simulator, ask)
    slow = {"fault": "slow", "seconds": 0.7}
    simulator.script("KRAKEN", cancel=[slow, "ok"], orders=2)
    (request,) = ask("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=5)
    with a_log_that_cannot_be_written(request):
        # The answer is there after 0.7 s; the worker waits for the log until it dies.
        time.sleep(1.2)
        worker.kill()
        worker.wait()
    assert not request.attempts.exists()
    stack.watchdog()
    wait_for(final(request), seconds=20)
    assert status_of(request) == "CONFIRMED"
    assert request.attempts.order_by("number")[0].outcome == "UNKNOWN"


def test_a_watchdog_killed_in_the_call_of_its_takeover_is_rescued_by_the_next(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, ask: Ask
) -> None:
    stack.set(EMS_TIMEOUT=8, CANCEL_DEADLINE=40)
    worker = worker_consumes(stack, simulator, ask)
    silent = {"fault": "silent"}
    simulator.script("KRAKEN", cancel=[silent, silent, "ok"], orders=2)
    (request,) = ask("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=20)
    worker.kill()
    first = stack.watchdog()
    wait_for(sent(simulator, "KRAKEN", 2), seconds=20)
    first.kill()
    stack.watchdog()
    wait_for(final(request), seconds=25)
    assert status_of(request) == "CONFIRMED"
    attempts = request.attempts.order_by("number")
    assert [(each.outcome, each.by_dead_holder) for each in attempts] == [
        ("UNKNOWN", True),
        ("UNKNOWN", True),
        ("ACKNOWLEDGED", False),
    ]
    assert len({each.holder for each in attempts}) == 3


DIE_IN_THE_TAKEOVER = """
import os, signal, threading
import django
django.setup()
from killswitch.cancels import recording, watchdog
from killswitch.cancels.models import Attempt

def record_takeover_and_die(request_id, **tokens):
    record_takeover(request_id, **tokens)
    assert Attempt.objects.filter(request_id=request_id, by_dead_holder=True).exists()
    os.kill(os.getpid(), signal.SIGKILL)

record_takeover = recording.record_takeover
recording.record_takeover = record_takeover_and_die
watchdog.run(threading.Event(), beat=lambda: None)
"""


def test_a_watchdog_killed_before_its_takeover_is_committed_leaves_nothing_of_it(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, ask: Ask
) -> None:
    stack.set(EMS_TIMEOUT=8, CANCEL_DEADLINE=40)
    worker = worker_consumes(stack, simulator, ask)
    simulator.script("KRAKEN", cancel=[{"fault": "silent"}, "ok"], orders=2)
    (request,) = ask("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=20)
    worker.kill()
    died = subprocess.run(
        [sys.executable, "-c", DIE_IN_THE_TAKEOVER],
        env=stack.environment,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert not request.attempts.exists()
    stack.watchdog()
    wait_for(final(request), seconds=25)
    assert status_of(request) == "CONFIRMED"
    attempts = request.attempts.order_by("number")
    assert [(each.outcome, each.by_dead_holder) for each in attempts] == [
        ("UNKNOWN", True),
        ("ACKNOWLEDGED", False),
    ]


def test_the_first_click_after_a_silently_dropped_connection_is_not_unknown(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, ask: Ask
) -> None:
    worker_consumes(stack, simulator, ask)
    assert simulator.forget_connections() > 0
    idle_since = time.monotonic()
    wait_for(lambda: time.monotonic() - idle_since > 5.5, seconds=7)
    simulator.place("KRAKEN", 2)
    (request,) = ask("KRAKEN")
    wait_for(final(request), seconds=5)
    assert status_of(request) == "CONFIRMED"
    assert [attempt.outcome for attempt in request.attempts.all()] == ["ACKNOWLEDGED"]


def test_two_workers_and_a_watchdog_given_the_same_request_claim_it_once(
    stack: Stack, simulator: Simulator, ask: Ask
) -> None:
    with concurrency.racers(stack, "worker", "worker", "watchdog") as three:
        for _ in range(100):
            (request,) = ask("KRAKEN")
            concurrency.at_once(three, str(request.pk))
        wait_for(final(*CancelRequest.objects.all()), seconds=20)
    requests = CancelRequest.objects.values_list("status", "attempt_count")
    assert list(requests) == [("CONFIRMED", 1)] * 100
    assert len(simulator.calls("KRAKEN")) == 100
    assert holders() > 1, "always the same one: they do not race"


def test_three_watchdogs_take_the_same_request_over_once(
    stack: Stack, simulator: Simulator, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process is the dead holder: it proves no life.
    monkeypatch.setattr(leases, "_keep_renewing", lambda held: None)
    with concurrency.racers(stack, "rescuer", "rescuer", "rescuer") as three:
        for _ in range(100):
            (request,) = ask("KRAKEN")
            leases.claim([request.pk])
            row = CancelRequest.objects.get(pk=request.pk)
            seen = [row.pk, row.status, row.lease_token, row.lease_beats]
            seen.append(row.attempt_count + row.reads)
            concurrency.at_once(three, " ".join(map(str, seen)))
        wait_for(final(*CancelRequest.objects.all()), seconds=20)
    requests = CancelRequest.objects.values_list("status", "attempt_count")
    assert list(requests) == [("CONFIRMED", 2)] * 100
    assert Attempt.objects.filter(by_dead_holder=True).count() == 100
    assert len(simulator.calls("KRAKEN")) == 100
    assert holders() > 1, "always the same one: they do not race"


def holders() -> int:
    """How many processes have sent something."""
    tokens = Attempt.objects.filter(by_dead_holder=False).values_list("holder", flat=True)
    return len({token.rsplit(":", 1)[0] for token in tokens})


def test_the_command_line_and_the_ems_agree_on_many(
    stack: Stack, simulator: Simulator, ask: Ask
) -> None:
    names = ["KRAKEN", "KRAKEN/JOHN", "BITSTAMP/2574"]
    for name in names:
        Exchange.objects.create(exchange_id=name)
        simulator.place(name, 2)
    simulator.script("BITSTAMP/2574", cancel=[{"fault": "reject", "reason": "INVALID_TYPE"}])
    stack.watchdog()
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "cancel_all", "--all"],
        env=stack.environment | {"COLUMNS": "80", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    lines = {line["exchange_id"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert {name: line["status"] for name, line in lines.items()} == {
        "KRAKEN": "CONFIRMED",
        "KRAKEN/JOHN": "CONFIRMED",
        "BITSTAMP/2574": "REJECTED",
    }
    assert lines["BITSTAMP/2574"]["reject_reason"] == "INVALID_TYPE"
    assert {call.exchange_id for call in simulator.calls()} == set(names)
