"""Threads that act at the same moment, as several processes of the product would."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from django.db import connection

from killswitch.runtime.kept_connections import reserved_connection
from killswitch.runtime.revisions import current

Result = TypeVar("Result")


def run_at_once(*actions: Callable[[], Result]) -> list[Result]:
    """Run each action in a thread with a database connection of its own; return the results."""
    barrier = threading.Barrier(len(actions))

    def run(action: Callable[[], Result]) -> Result:
        barrier.wait(10)
        try:
            return action()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions, timeout=30))


@contextmanager
def holding_connections(count: int, *, reserved: bool = False) -> Iterator[None]:
    """Let so many other threads hold a connection each."""
    hold, release = threading.Barrier(count + 1, timeout=30), threading.Event()

    def use_one() -> None:
        with reserved_connection() if reserved else nullcontext():
            current()
        hold.wait()
        release.wait(30)
        connection.close()

    threads = [threading.Thread(target=use_one) for _ in range(count)]
    for thread in threads:
        thread.start()
    hold.wait()
    try:
        yield
    finally:
        release.set()
        for thread in threads:
            thread.join()
