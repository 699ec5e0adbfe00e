"""Publishing never makes a press fail."""

import threading

import pytest

from killswitch.cancels import publishing
from tests.conftest import RedisProcess


def test_a_machine_without_threads_leaves_it_to_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It runs after the commit: an error would look as if the press had not been recorded."""

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(publishing, "_publishers", {})
    monkeypatch.setattr(threading.Thread, "start", none_left)
    publishing.publish([1])
    assert publishing._publishers == {}


def test_a_broker_that_hangs_neither_delays_a_press_nor_drops_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "_publishers", {})
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    for number in range(5000):
        publishing.publish([number])
    (publisher,) = publishing._publishers.values()
    assert publisher.messages.qsize() == 5000


def test_a_message_is_sent_before_the_press_goes_on(
    own_redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_publishers", {})
    for number in range(1, 6):
        publishing.publish([number], max_wait_s=30)
        with own_redis.client() as client:
            assert client.llen("cancel") == number
