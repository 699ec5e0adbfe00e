"""Processes are killed at the worst moments: before a call, after its answer, in a takeover."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.db import transaction

from killswitch.cancels import leases
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.conftest import RedisProcess, wait_for
from tests.faults import concurrency
from tests.faults.test_processes import final, sent, status_of, worker_consumes
from tests.stack import ROOT, Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

RECORD_AND_DIE = """
import os, signal
import django
django.setup()
from killswitch.audit.actors import Actor
from killswitch.cancels import publishing, services
from killswitch.cancels.confirmation import Target
from killswitch.exchanges.models import Exchange
publishing.publish = lambda ids: os.kill(os.getpid(), signal.SIGKILL)
services.request_cancel_from_command_line(
    target=Target(exchanges=list(Exchange.objects.all()), everywhere=True),
    by=Actor(name="web"),
    reason="",
)
"""


def test_a_request_is_carried_out_when_the_web_process_is_killed_after_the_commit(
    stack: Stack, simulator: Simulator, transactional_db: None
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    simulator.place("KRAKEN", 2)
    process = subprocess.run(
        [sys.executable, "-c", RECORD_AND_DIE], env=stack.environment, cwd=ROOT, check=False
    )
    assert process.returncode == -signal.SIGKILL
    request = CancelRequest.objects.get()
    stack.watchdog()
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"


@contextmanager
def port_that_never_accepts() -> Iterator[str]:
    """Yield the URL of a listener with a full queue: connecting neither succeeds nor fails."""
    with ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_worker_killed_before_its_call_is_replaced_by_the_watchdog(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    with port_that_never_accepts() as url:
        stack.set(EMS_BASE_URL=url, EMS_CONNECT_TIMEOUT=20, EMS_TIMEOUT=20, CANCEL_DEADLINE=60)
        worker = stack.worker()
        (request,) = press("KRAKEN")
        row = CancelRequest.objects.filter(pk=request.pk)
        wait_for(lambda: row.get().status == "SENDING", seconds=60)
        worker.kill()
    simulator.place("KRAKEN", 2)
    stack.set(EMS_BASE_URL=simulator.url, EMS_TIMEOUT=2)
    stack.watchdog()
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"
    assert len(simulator.calls("KRAKEN")) == 1


@contextmanager
def locked_row(request: CancelRequest) -> Iterator[None]:
    """Lock the row in another connection, so that no attempt can be recorded."""
    with transaction.atomic():
        CancelRequest.objects.select_for_update().get(pk=request.pk)
        yield


def test_a_worker_killed_between_the_answer_and_its_record_is_replaced(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    stack.set(CANCEL_DEADLINE=30)
    worker = worker_consumes(stack, simulator, press)
    slow = {"fault": "slow", "seconds": 0.7}
    simulator.script("KRAKEN", cancel=[slow, "ok"], orders=2)
    (request,) = press("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=5)
    with locked_row(request):
        # The answer comes after 0.7 s; the worker waits to record it until it is killed.
        time.sleep(1.2)
        worker.kill()
        worker.wait()
    assert not request.attempts.exists()
    stack.watchdog()
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"
    assert request.attempts.order_by("number")[0].outcome == "UNKNOWN"


def test_a_watchdog_killed_in_the_call_after_its_takeover_is_replaced_by_the_next(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    stack.set(EMS_TIMEOUT=8, CANCEL_DEADLINE=40)
    worker = worker_consumes(stack, simulator, press)
    silent = {"fault": "silent"}
    simulator.script("KRAKEN", cancel=[silent, silent, "ok"], orders=2)
    (request,) = press("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=60)
    worker.kill()
    first = stack.watchdog()
    wait_for(sent(simulator, "KRAKEN", 2), seconds=60)
    first.kill()
    stack.watchdog()
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"
    attempts = request.attempts.order_by("number")
    assert [(attempt.outcome, attempt.by_dead_holder) for attempt in attempts] == [
        ("UNKNOWN", True),
        ("UNKNOWN", True),
        ("ACKNOWLEDGED", False),
    ]
    assert len({attempt.holder for attempt in attempts}) == 3


DIE_IN_THE_TAKEOVER = """
import os, signal, threading
import django
django.setup()
from killswitch.cancels import leases, watchdog
from killswitch.cancels.models import Attempt

def record_takeover_and_die(request_id, **tokens):
    record_takeover(request_id, **tokens)
    assert Attempt.objects.filter(request_id=request_id, by_dead_holder=True).exists()
    os.kill(os.getpid(), signal.SIGKILL)

record_takeover = leases.record_takeover
leases.record_takeover = record_takeover_and_die
watchdog.run(threading.Event(), beat=lambda: None)
"""


def test_a_watchdog_killed_before_its_takeover_is_committed_leaves_no_trace(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    stack.set(EMS_TIMEOUT=8, CANCEL_DEADLINE=40)
    worker = worker_consumes(stack, simulator, press)
    simulator.script("KRAKEN", cancel=[{"fault": "silent"}, "ok"], orders=2)
    (request,) = press("KRAKEN")
    wait_for(sent(simulator, "KRAKEN"), seconds=60)
    worker.kill()
    process = subprocess.run(
        [sys.executable, "-c", DIE_IN_THE_TAKEOVER],
        env=stack.environment,
        cwd=ROOT,
        timeout=30,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL
    assert not request.attempts.exists()
    stack.watchdog()
    wait_for(final(request), seconds=60)
    assert status_of(request) == "CONFIRMED"
    attempts = request.attempts.order_by("number")
    assert [(attempt.outcome, attempt.by_dead_holder) for attempt in attempts] == [
        ("UNKNOWN", True),
        ("ACKNOWLEDGED", False),
    ]


def test_the_first_click_after_a_silently_dropped_connection_is_not_unknown(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    worker_consumes(stack, simulator, press)
    assert simulator.forget_connections() > 0
    idle_since = time.monotonic()
    wait_for(lambda: time.monotonic() - idle_since > 5.5, seconds=7)
    simulator.place("KRAKEN", 2)
    (request,) = press("KRAKEN")
    wait_for(final(request), seconds=5)
    assert status_of(request) == "CONFIRMED"
    assert [attempt.outcome for attempt in request.attempts.all()] == ["ACKNOWLEDGED"]


def test_two_workers_and_a_watchdog_claim_the_same_request_once(
    stack: Stack, simulator: Simulator, press: Press
) -> None:
    with concurrency.racers(stack, "worker", "worker", "watchdog") as racers:
        for _ in range(100):
            (request,) = press("KRAKEN")
            concurrency.act_at_once(racers, str(request.pk))
        wait_for(final(*CancelRequest.objects.all()), seconds=60)
    requests = CancelRequest.objects.values_list("status", "attempt_count")
    assert list(requests) == [("CONFIRMED", 1)] * 100
    assert len(simulator.calls("KRAKEN")) == 100
    assert holders() > 1, "always the same process: they do not race"


def test_three_watchdogs_take_over_the_same_request_once(
    stack: Stack, simulator: Simulator, press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This process is the dead holder: it does not renew its leases.
    monkeypatch.setattr(leases, "_keep_renewing", lambda claimed: None)
    with concurrency.racers(stack, "rescuer", "rescuer", "rescuer") as racers:
        for _ in range(100):
            (request,) = press("KRAKEN")
            leases.claim([request.pk])
            row = CancelRequest.objects.get(pk=request.pk)
            seen = [row.pk, row.status, row.lease_token, row.lease_beats]
            seen.append(row.attempt_count + row.reads)
            concurrency.act_at_once(racers, " ".join(map(str, seen)))
        wait_for(final(*CancelRequest.objects.all()), seconds=60)
    requests = CancelRequest.objects.values_list("status", "attempt_count")
    assert list(requests) == [("CONFIRMED", 2)] * 100
    assert Attempt.objects.filter(by_dead_holder=True).count() == 100
    assert len(simulator.calls("KRAKEN")) == 100
    assert holders() > 1, "always the same process: they do not race"


def holders() -> int:
    """Return how many processes have sent a cancel."""
    tokens = Attempt.objects.filter(by_dead_holder=False).values_list("holder", flat=True)
    return len({token.rsplit(":", 1)[0] for token in tokens})


def test_the_command_line_prints_what_happened_at_the_ems(
    stack: Stack, simulator: Simulator, press: Press
) -> None:
    names = ["KRAKEN", "KRAKEN/JOHN", "BITSTAMP/2574"]
    for name in names:
        Exchange.objects.create(exchange_id=name)
        simulator.place(name, 2)
    refusal = {"fault": "reject", "reason": "INVALID_TYPE", "repeat": True}
    simulator.script("BITSTAMP/2574", cancel=[refusal])
    stack.watchdog()
    process = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "cancel_all", "--all"],
        env=stack.environment | {"COLUMNS": "80", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert process.returncode == 1, process.stderr
    lines = {line["exchange_id"]: line for line in map(json.loads, process.stdout.splitlines())}
    assert {name: line["status"] for name, line in lines.items()} == {
        "KRAKEN": "CONFIRMED",
        "KRAKEN/JOHN": "CONFIRMED",
        "BITSTAMP/2574": "REJECTED",
    }
    assert lines["BITSTAMP/2574"]["reject_reason"] == "INVALID_TYPE"
    assert {call.exchange_id for call in simulator.calls()} == set(names)
