"""When a worker concludes that it is deaf, and when it does not."""

import pytest

from killswitch.observer import queue_liveness
from killswitch.observer.queue_liveness import DEAF_AFTER_S, DeafnessDetector, beat_and_check
from killswitch.readiness.models import Canary
from killswitch.runtime.heartbeats import Heartbeat
from tests.clock import Clock
from tests.conftest import RedisProcess


def test_canaries_that_nobody_answers_for_long_mean_deafness() -> None:
    clock = Clock()
    detector = DeafnessDetector(clock=clock)
    deaf_at = None
    for second in range(60):
        if detector.is_deaf(published=second // 3, answered=0):
            deaf_at = second
            break
        clock.now += 1
    assert deaf_at is not None
    assert DEAF_AFTER_S <= deaf_at <= DEAF_AFTER_S + 4


def test_an_answer_by_anybody_is_no_deafness() -> None:
    clock = Clock()
    detector = DeafnessDetector(clock=clock)
    for second in range(120):
        assert not detector.is_deaf(published=second // 3, answered=second // 12)
        clock.now += 1


def test_own_canaries_are_no_deafness_even_when_the_row_cannot_be_written() -> None:
    clock = Clock()
    detector = DeafnessDetector(clock=clock)
    for second in range(120):
        if second % 10 == 0:
            detector.record_received()
        assert not detector.is_deaf(published=second // 3, answered=0)
        clock.now += 1


def test_silence_where_nothing_is_sent_is_no_deafness() -> None:
    clock = Clock()
    detector = DeafnessDetector(clock=clock)
    assert not detector.is_deaf(published=100, answered=90)
    clock.now += 3600
    assert not detector.is_deaf(published=100, answered=90)
    # The observer is back after an hour: the patience begins with its first canary.
    assert not detector.is_deaf(published=101, answered=90)
    clock.now += 3
    assert not detector.is_deaf(published=102, answered=90)


def test_one_lost_canary_is_no_deafness() -> None:
    clock = Clock()
    detector = DeafnessDetector(clock=clock)
    detector.is_deaf(published=1, answered=1)
    detector.is_deaf(published=2, answered=1)
    clock.now += 3600
    assert not detector.is_deaf(published=2, answered=1)


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
def test_a_deaf_worker_gives_up_only_while_the_broker_answers(broker: RedisProcess) -> None:
    clock, ended = Clock(), list[str]()
    detector = DeafnessDetector(clock=clock)
    Canary.objects.create(id=1, nonce="n", published=1, answered=1)
    beat_and_check(detector, end_process=lambda: ended.append("early"))
    Canary.objects.update(published=5)
    beat_and_check(detector, end_process=lambda: ended.append("early"))
    clock.now += DEAF_AFTER_S + 1
    broker.kill()
    beat_and_check(detector, end_process=lambda: ended.append("without a broker"))
    assert ended == []
    broker.start()
    beat_and_check(detector, end_process=lambda: ended.append("forgiven"))
    assert ended == []
    Canary.objects.update(published=9)
    beat_and_check(detector, end_process=lambda: ended.append("early"))
    clock.now += DEAF_AFTER_S + 1
    beat_and_check(detector, end_process=lambda: ended.append("deaf"))
    assert ended == ["deaf"]
    assert Heartbeat.objects.get(kind="WORKER").beats == 6


def test_the_thread_of_a_stopping_worker_ends() -> None:
    import threading

    stop = threading.Event()
    stop.set()
    queue_liveness.watch(stop)
    assert stop.is_set()
