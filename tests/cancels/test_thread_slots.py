"""Slots are never lost and never given out twice, even after an error."""

import threading
import time

import pytest

from killswitch.cancels import thread_slots
from killswitch.cancels.thread_slots import MAX_THREADS, Latch, ThreadSlots
from tests.conftest import wait_for


def test_slots_that_are_not_used_are_freed_even_after_an_error() -> None:
    def fail() -> None:
        with ThreadSlots(MAX_THREADS) as slots:
            assert slots.count == MAX_THREADS
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()
    assert thread_slots.idle()


def test_there_are_never_more_slots_than_threads() -> None:
    with ThreadSlots(MAX_THREADS) as all_slots, ThreadSlots(1) as no_slots:
        assert (all_slots.count, no_slots.count) == (MAX_THREADS, 0)
    assert thread_slots.idle()


def test_a_slot_in_use_is_freed_when_the_work_ends() -> None:
    may_end = threading.Event()

    def work() -> None:
        may_end.wait()

    with ThreadSlots(2) as slots:
        slots.start(work)
    assert not thread_slots.idle()
    may_end.set()
    wait_for(thread_slots.idle, seconds=5)


def test_the_latch_opens_when_all_have_left_and_counts_each_request_once() -> None:
    latch = Latch([1, 2])
    latch.mark_sent(1)
    latch.mark_sent(1)
    assert not latch._open.is_set()
    latch.mark_sent(2)
    assert latch._open.is_set()


def test_the_latch_does_not_delay_a_result_for_long() -> None:
    started_at = time.monotonic()
    Latch([1]).wait()
    assert time.monotonic() - started_at < 5
