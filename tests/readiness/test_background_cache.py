"""Costly work is done at most once a second, and no caller waits long for it."""

import itertools
import threading
import time

import pytest

from killswitch.readiness.background_cache import MAX_WAIT_S, BackgroundCache
from tests.threads import run_at_once


def test_many_that_ask_at_once_cause_one_look() -> None:
    done = list[int]()

    def work() -> int:
        done.append(1)
        return len(done)

    cache = BackgroundCache(work, fallback=lambda: -1)
    assert run_at_once(*[cache.get] * 8) == [1] * 8
    assert cache.get() == 1


def test_after_a_while_the_work_is_done_anew() -> None:
    numbers = itertools.count(1)
    cache = BackgroundCache(lambda: next(numbers), fallback=lambda: -1, max_age_s=0.0)
    assert [cache.get(), cache.get()] == [1, 2]


def test_work_that_does_not_end_is_waited_for_once_and_then_not_at_all() -> None:
    release = threading.Event()
    cache = BackgroundCache(lambda: release.wait(30) and 1, fallback=lambda: -1, max_age_s=0.0)
    began = time.monotonic()
    assert cache.get() == -1
    assert MAX_WAIT_S <= time.monotonic() - began < MAX_WAIT_S + 5
    began = time.monotonic()
    assert cache.get() == -1
    assert time.monotonic() - began < MAX_WAIT_S
    release.set()
    assert cache.get() in {-1, 1}


def test_work_that_fails_gives_the_other_answer(caplog: pytest.LogCaptureFixture) -> None:
    cache = BackgroundCache(lambda: 1 // 0, fallback=lambda: -1)
    assert cache.get() == -1
    assert "readiness_unknown" in caplog.text
