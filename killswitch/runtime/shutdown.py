"""SIGINT and SIGTERM as an event, so that a process can finish what it is doing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

STOP = threading.Event()
"""Set when this process is asked to end: every pause that waits on it ends at once."""


def set_on_signals(stop: threading.Event) -> threading.Event:
    """Set the event at SIGINT or SIGTERM instead of ending the process, and return the event.

    For a process that ends afterwards: a second signal does not interrupt its orderly end. Must be
    called in the main thread.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def shutdown_signals() -> Iterator[threading.Event]:
    """Yield an event that is set at SIGINT or SIGTERM; restore the handlers afterwards."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield set_on_signals(threading.Event())
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
