"""Costly work is done at most once a second, and nobody waits long for it."""

import itertools
import threading
import time

import pytest

from killswitch.readiness.background_cache import MAX_WAIT_S, BackgroundCache


def test_many_that_ask_at_once_cause_one_look() -> None:
    done = list[int]()
    begun = threading.Barrier(9)

    def work() -> int:
        done.append(1)
        return len(done)

    recent = BackgroundCache(work, otherwise=lambda: -1)
    got = list[int]()

    def ask() -> None:
        begun.wait(10)
        got.append(recent.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait(10)
    for thread in threads:
        thread.join(10)
    assert got == [1] * 8
    assert recent.get() == 1


def test_after_a_while_the_work_is_done_anew() -> None:
    numbers = itertools.count(1)
    recent = BackgroundCache(lambda: next(numbers), otherwise=lambda: -1, keep=0.0)
    assert [recent.get(), recent.get()] == [1, 2]


def test_work_that_does_not_end_is_waited_for_once_and_then_not_at_all() -> None:
    release = threading.Event()
    recent = BackgroundCache(lambda: release.wait(30) and 1, otherwise=lambda: -1, keep=0.0)
    began = time.monotonic()
    assert recent.get() == -1
    assert MAX_WAIT_S <= time.monotonic() - began < MAX_WAIT_S + 5
    began = time.monotonic()
    assert recent.get() == -1
    assert time.monotonic() - began < MAX_WAIT_S
    release.set()
    assert recent.get() in {-1, 1}


def test_work_that_fails_gives_the_other_answer(caplog: pytest.LogCaptureFixture) -> None:
    recent = BackgroundCache(lambda: 1 // 0, otherwise=lambda: -1)
    assert recent.get() == -1
    assert "readiness_not_known" in caplog.text
