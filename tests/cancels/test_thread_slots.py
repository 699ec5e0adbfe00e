"""Places are never lost and never given out twice, whatever goes wrong between."""

import threading
import time

import pytest

from killswitch.cancels import thread_slots
from killswitch.cancels.thread_slots import MAX_THREADS, Latch, ThreadSlots
from tests.conftest import wait_for


def test_places_that_are_not_used_are_given_back_also_after_an_error() -> None:
    def fail() -> None:
        with ThreadSlots(MAX_THREADS) as places:
            assert places.count == MAX_THREADS
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()
    assert thread_slots.idle()


def test_there_are_never_more_places_than_threads() -> None:
    with ThreadSlots(MAX_THREADS) as all_of_them, ThreadSlots(1) as none:
        assert (all_of_them.count, none.count) == (MAX_THREADS, 0)
    assert thread_slots.idle()


def test_a_place_in_use_comes_back_when_the_work_ends() -> None:
    go_on = threading.Event()

    def work() -> None:
        go_on.wait()

    with ThreadSlots(2) as places:
        places.start(work)
    assert not thread_slots.idle()
    go_on.set()
    wait_for(thread_slots.idle, seconds=5)


def test_the_latch_opens_when_all_have_left_and_counts_nobody_twice() -> None:
    latch = Latch([1, 2])
    latch.left(1)
    latch.left(1)
    assert not latch._open.is_set()
    latch.left(2)
    assert latch._open.is_set()


def test_the_latch_does_not_hold_the_writing_up_for_long() -> None:
    began = time.monotonic()
    Latch([1]).wait()
    assert time.monotonic() - began < 5
