"""Publishing never makes a press fail."""

import threading

import pytest

from killswitch.cancels import publishing


def test_a_machine_without_threads_leaves_it_to_the_watchdog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is called after the commit: an error there would say that nothing had been recorded."""

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(publishing, "_threads", {})
    monkeypatch.setattr(threading.Thread, "start", none_left)
    publishing.publish([1])
    assert publishing._threads == {}


def test_a_broker_that_hangs_makes_nobody_wait_and_no_message_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "_threads", {})
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    for number in range(5000):
        publishing.publish([number])
    (waiting,) = publishing._threads.values()
    assert waiting.qsize() == 5000
