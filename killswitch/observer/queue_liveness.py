"""Replaces a worker that is alive but no longer hears: it ends itself, the supervisor restarts it.

A worker can lose its place at the broker and never notice. It knows from the canary's row that
canaries are published and that nobody answers; when the broker answers a ping meanwhile, the fault
is the worker's own. While a second worker answers, this one stays: kills are carried out.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

from killswitch.observer import canary
from killswitch.readiness.models import Canary
from killswitch.readiness.rounds import start_rounds
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process

CHECK_INTERVAL_S = 1.0  # seconds
DEAF_AFTER_S = 15.0  # seconds that published canaries may stay without an answer
MIN_UNANSWERED = 2  # canaries that must have gone unanswered
EXIT_GRACE_S = 5.0  # seconds for an orderly end

log = structlog.get_logger(__name__)


class DeafnessDetector:
    """Judges, by counters and a monotonic clock, whether nothing arrives though much is sent."""

    def __init__(
        self, *, patience: float = DEAF_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._answered = -1
        self._published_then = 0
        self._waiting_since: float | None = None
        self._came = threading.Event()

    def heard(self) -> None:
        """A canary has reached this process."""
        self._came.set()

    def is_deaf(self, *, published: int, answered: int) -> bool:
        """Given the canary's counters, as often as one likes."""
        if self._came.is_set() or answered != self._answered:
            self._came.clear()
            self._answered, self._published_then = answered, published
        missing = published - self._published_then
        if missing <= 0:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = self._clock()
        return missing >= MIN_UNANSWERED and self._clock() - self._waiting_since >= self._patience

    def forgive(self, *, published: int) -> None:
        """What was missed so far was not this worker's fault."""
        self._published_then, self._waiting_since = published, None


DETECTOR = DeafnessDetector()


def listen(stop: threading.Event) -> None:
    """Begin to beat and to judge, in a thread of its own."""
    start_rounds(
        name="hearing",
        do=lambda: beat_and_check(DETECTOR, give_up=end_this_process),
        every=CHECK_INTERVAL_S,
        stop=stop,
    )


def beat_and_check(ear: DeafnessDetector, *, give_up: Callable[[], None]) -> None:
    """Beat once, and give up when this worker is deaf though the broker answers."""
    heartbeats.beat(Process.WORKER)
    counters = Canary.objects.values_list("published", "answered").first()
    published, answered = counters or (0, 0)
    if not ear.is_deaf(published=published, answered=answered):
        return
    if canary.broker_answers():
        give_up()
    else:
        ear.forgive(published=published)


def end_this_process() -> None:
    """In order, so that kills are handed over; and by force when it is deaf to that, too."""
    log.critical("worker_is_deaf", doing="ending this process, to be started anew")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(EXIT_GRACE_S)
    os._exit(1)
