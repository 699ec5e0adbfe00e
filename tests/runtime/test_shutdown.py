"""SIGINT and SIGTERM are noticed instead of ending the process."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from killswitch.runtime.shutdown import SIGNALS, set_on_signals, shutdown_signals
from tests.conftest import wait_for


@pytest.fixture(autouse=True)
def _handlers_are_restored() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_event(number: signal.Signals) -> None:
    with shutdown_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        wait_for(stop.is_set, seconds=5)


def fail_while_noticing() -> None:
    with shutdown_signals():
        raise KeyError


def test_the_handlers_are_restored_also_after_an_error() -> None:
    handlers = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyError):
        fail_while_noticing()
    assert [signal.getsignal(number) for number in SIGNALS] == handlers


def test_an_event_of_the_caller_is_set_at_every_signal() -> None:
    stop = threading.Event()
    assert set_on_signals(stop) is stop
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(stop.is_set, seconds=5)
        stop.clear()


def test_a_process_ends_in_order_also_when_it_gets_both_signals() -> None:
    program = (
        "import threading, time\n"
        "from killswitch.runtime.shutdown import set_on_signals\n"
        "stop = set_on_signals(threading.Event())\n"
        "print('ready', flush=True)\n"
        "stop.wait(20); time.sleep(0.3); print('in order', flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "in order\n"
    assert process.returncode == 0
