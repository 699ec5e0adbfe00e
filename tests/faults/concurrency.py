"""Several processes of the product that act on the same request at the same instant.

    python -m tests.faults.concurrency ROLE

Reads lines `INSTANT REQUEST…` from standard input, waits for the instant, acts, and prints "done".
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.stack import ROOT, Stack

LEAD_TIME_S = 0.02  # between the first message and the instant
SPIN_S = 0.002  # before the instant, in which no racer sleeps


class Racer:
    """One process, from the point of view of the test."""

    def __init__(self, stack: Stack, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.concurrency", role],
            cwd=ROOT,
            env=stack.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.read_line() == "ready"

    def write_line(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def read_line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def racers(stack: Stack, *roles: str) -> Iterator[Sequence[Racer]]:
    """Start the processes, yield them when all are ready, and kill them afterwards."""
    running: list[Racer] = []
    try:
        for role in roles:
            running.append(Racer(stack, role))
        yield running
    finally:
        for racer in running:
            racer.end()


def act_at_once(racing: Sequence[Racer], request: str) -> None:
    """Make all of them act on the request at the same instant; return when all have."""
    instant = time.monotonic() + LEAD_TIME_S  # the clock is the machine's, not the process's
    for racer in racing:
        racer.write_line(f"{instant} {request}")
    assert {racer.read_line() for racer in racing} == {"done"}


def main() -> None:
    """Prepare, wait for the instant, act; once for each line."""
    import django

    django.setup()
    roles: dict[str, Callable[[Sequence[str]], Callable[[], object]]] = {
        "worker": _worker,
        "watchdog": _watchdog,
        "rescuer": _rescuer,
    }
    prepare = roles[sys.argv[1]]
    print("ready", flush=True)
    for line in sys.stdin:
        instant, *arguments = line.split()
        act = prepare(arguments)
        time.sleep(max(float(instant) - time.monotonic() - SPIN_S, 0.0))
        while time.monotonic() < float(instant):
            pass
        act()
        print("done", flush=True)


def _worker(arguments: Sequence[str]) -> Callable[[], None]:
    """Return the task that a message starts."""
    from killswitch.cancels import tasks

    return lambda: tasks.run(ids=[int(arguments[0])])


def _watchdog(arguments: Sequence[str]) -> Callable[[], object]:
    """Return a check that finds a request which has been unclaimed for long enough."""
    from killswitch.cancels import watchdog
    from killswitch.cancels.leases import RequestSnapshot
    from killswitch.cancels.states import Status

    unclaimed = RequestSnapshot(
        id=int(arguments[0]),
        status=Status.REQUESTED,
        lease_token="",
        lease_beats=0,
        finished_calls=0,
    )
    detector = watchdog.StallDetector()
    detector.inspect([unclaimed], now=time.monotonic() - watchdog.UNCLAIMED_AFTER_S)
    return lambda: watchdog.check_once(detector)


def _rescuer(arguments: Sequence[str]) -> Callable[[], object]:
    """Return what a watchdog does with a request that its holder has abandoned."""
    from killswitch.cancels import execution
    from killswitch.cancels.leases import RequestSnapshot
    from killswitch.cancels.states import Status

    pk, status, lease_token, lease_beats, ended = arguments
    abandoned = RequestSnapshot(
        id=int(pk),
        status=Status(status),
        lease_token=lease_token,
        lease_beats=int(lease_beats),
        finished_calls=int(ended),
    )
    return lambda: execution.take_over_abandoned([abandoned])


if __name__ == "__main__":
    main()
