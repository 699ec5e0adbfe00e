"""Several processes of the product that are given the same thing at the same instant.

    python -m tests.faults.racing ROLE

Reads lines `INSTANT REQUEST…` from standard input, waits for the instant, acts, and says so.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.stack import ROOT, Stack

AHEAD = 0.02  # seconds between telling all of them and the instant
SPIN = 0.002  # seconds before it in which none of them sleeps


class Racer:
    """One process, as the test sees it."""

    def __init__(self, stack: Stack, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.concurrency", role],
            cwd=ROOT,
            env=stack.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.answer() == "ready"

    def tell(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def racers(stack: Stack, *roles: str) -> Iterator[Sequence[Racer]]:
    """They are ready when this is entered, and gone when it is left."""
    started: list[Racer] = []
    try:
        for role in roles:
            started.append(Racer(stack, role))
        yield started
    finally:
        for each in started:
            each.end()


def at_once(racing: Sequence[Racer], what: str) -> None:
    """Let all of them act at the same instant; returns when all have."""
    instant = time.monotonic() + AHEAD  # the clock is the machine's, not the process's
    for each in racing:
        each.tell(f"{instant} {what}")
    assert {each.answer() for each in racing} == {"done"}


def main() -> None:
    """Prepare, wait for the instant, act; once for each line."""
    import django

    django.setup()
    prepare = {"worker": _worker, "watchdog": _watchdog, "rescuer": _rescuer}[sys.argv[1]]
    print("ready", flush=True)
    for line in sys.stdin:
        instant, *what = line.split()
        act = prepare(what)
        time.sleep(max(float(instant) - time.monotonic() - SPIN, 0.0))
        while time.monotonic() < float(instant):
            pass
        act()
        print("done", flush=True)


def _worker(what: Sequence[str]) -> Callable[[], None]:
    """The task that a message starts."""
    from killswitch.cancels import tasks

    return lambda: tasks.run(ids=[int(what[0])])


def _watchdog(what: Sequence[str]) -> Callable[[], None]:
    """A look that finds a request which nobody has claimed for long enough."""
    from killswitch.cancels import watchdog
    from killswitch.cancels.states import Status

    seen = watchdog.RequestSnapshot(
        id=int(what[0]), status=Status.REQUESTED, lease_token="", lease_beats=0, ended=0
    )
    memory = watchdog.StallDetector()
    memory.look([seen], now=time.monotonic() - watchdog.UNCLAIMED_AFTER_S)
    return lambda: watchdog.check_once(memory)


def _rescuer(what: Sequence[str]) -> Callable[[], None]:
    """What a watchdog does with a request whose holder stands still."""
    from killswitch.cancels import execution
    from killswitch.cancels.leases import StaleLease
    from killswitch.cancels.states import Status

    number, status, holder, counter, ended = what
    overdue = StaleLease(
        id=int(number),
        status=Status(status),
        lease_token=holder,
        lease_beats=int(counter),
        ended=int(ended),
    )
    return lambda: execution.take_over_stale([overdue])


if __name__ == "__main__":
    main()
