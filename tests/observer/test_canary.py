"""The canary goes through a real broker, bounded in time, and back from a real worker."""

import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from django.db import connection

from killswitch.observer import canary
from killswitch.observer.tasks import answer
from killswitch.readiness.models import Canary
from killswitch.runtime.heartbeats import Process, age_here
from tests.conftest import RedisProcess, wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def queued(broker: RedisProcess) -> int:
    client = redis.Redis(unix_socket_path=str(broker.path))
    try:
        return client.llen("cancel")
    finally:
        client.close()


def test_a_canary_is_published_to_the_queue_of_the_kills(broker: RedisProcess) -> None:
    canary.send()
    sent = Canary.objects.get()
    assert (sent.published, sent.answered, sent.error) == (1, 0, "")
    assert sent.sent_at is not None
    assert queued(broker) == 1


def test_an_answer_notes_how_long_it_took(broker: RedisProcess) -> None:
    canary.send()
    answer(nonce=Canary.objects.get().nonce)
    answered = Canary.objects.get()
    assert answered.answered == 1
    assert answered.answered_at is not None
    assert answered.milliseconds is not None
    assert 0 <= answered.milliseconds < 60_000


def test_a_clock_that_was_set_back_gives_an_answer_and_no_speed(broker: RedisProcess) -> None:
    canary.send()
    Canary.objects.update(sent_at=datetime.now(UTC) + timedelta(hours=1))
    answer(nonce=Canary.objects.get().nonce)
    found = Canary.objects.get()
    assert (found.answered, found.milliseconds) == (1, None)
    assert found.answered_at is not None


def test_a_late_answer_proves_a_worker_but_no_speed(broker: RedisProcess) -> None:
    canary.send()
    late = Canary.objects.get().nonce
    canary.send()
    answer(nonce=late)
    found = Canary.objects.get()
    assert (found.answered, found.answered_at, found.milliseconds) == (1, None, None)


def test_canaries_do_not_pile_up_before_the_kills(broker: RedisProcess) -> None:
    for _ in range(canary.MAX_QUEUED_MESSAGES + 5):
        canary.send()
    assert queued(broker) == canary.MAX_QUEUED_MESSAGES
    assert Canary.objects.get().published == canary.MAX_QUEUED_MESSAGES


def test_a_dead_broker_costs_little_time_and_is_noted(broker: RedisProcess) -> None:
    canary.send()
    broker.kill()
    began = time.monotonic()
    canary.send()
    assert time.monotonic() - began < 5
    found = Canary.objects.get()
    assert found.published == 1
    assert "queue does not respond" in found.error
    broker.start()
    canary.send()
    assert Canary.objects.get().error == ""


def test_a_stopped_broker_costs_little_time_and_is_noted(broker: RedisProcess) -> None:
    assert broker.process
    broker.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        canary.send()
        assert time.monotonic() - began < 10
        assert "queue does not respond" in Canary.objects.get().error
    finally:
        broker.process.send_signal(signal.SIGCONT)


def test_sending_leaves_no_connection_open(broker: RedisProcess) -> None:
    canary.send()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        canary.send()
    connection.close()  # which the periodic task does
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_a_real_worker_answers_and_beats(stack: Stack, broker: RedisProcess) -> None:
    stack.worker()
    wait_for(lambda: age_here(Process.WORKER).within(2), seconds=40)
    canary.send()
    wait_for(lambda: Canary.objects.get().answered_at is not None, seconds=10)
    assert (Canary.objects.get().milliseconds or 1e9) < 5000
