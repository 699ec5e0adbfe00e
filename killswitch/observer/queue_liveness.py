"""Ends a worker that is alive but receives no messages, so that its supervisor replaces it.

A worker can lose its place at the broker without noticing. The canary's row shows it that canaries
are published and never answered; if the broker answers a ping meanwhile, the fault is the worker's
own. While another worker answers, this one stays: cancels are carried out.
"""

import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

from killswitch.observer import canary
from killswitch.readiness.models import Canary
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.leases import StillnessTracker
from killswitch.runtime.periodic import PeriodicTask

CHECK_INTERVAL_S = 1.0
DEAF_AFTER_S = 15.0  # without an answer to published canaries
MIN_UNANSWERED = 2
EXIT_GRACE_S = 5.0

log = structlog.get_logger(__name__)


class DeafnessDetector:
    """Decides, by counters and a monotonic clock, that no messages arrive though some are sent."""

    def __init__(
        self, *, deaf_after_s: float = DEAF_AFTER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._deaf_after_s = deaf_after_s
        self._clock = clock
        self._answered = -1
        self._published_then = 0
        self._unchanged = StillnessTracker[str]()
        self._received = threading.Event()

    def record_received(self) -> None:
        """Note that a canary has reached this process."""
        self._received.set()

    def is_deaf(self, *, published: int, answered: int) -> bool:
        """Return whether this worker is deaf, given the canary's counters."""
        if self._received.is_set() or answered != self._answered:
            self._received.clear()
            self._answered, self._published_then = answered, published
        unanswered = published - self._published_then
        state = (self._published_then, unanswered > 0)
        waited_s = self._unchanged.observe({"canary": state}, now=self._clock())["canary"]
        return unanswered >= MIN_UNANSWERED and waited_s >= self._deaf_after_s

    def forgive(self, *, published: int) -> None:
        """Start again: the canaries missed so far were not this worker's fault."""
        self._published_then = published


DETECTOR = DeafnessDetector()


def watch(stop: threading.Event) -> None:
    """Send heartbeats, and check for deafness, in a thread that ends with `stop`."""
    PeriodicTask(
        name="queue_liveness",
        work=lambda: beat_and_check(DETECTOR, end_process=end_this_process),
        interval_s=CHECK_INTERVAL_S,
    ).start_thread(stop)


def beat_and_check(detector: DeafnessDetector, *, end_process: Callable[[], None]) -> None:
    """Send one heartbeat, and end the process if it is deaf although the broker answers."""
    heartbeats.beat(Process.WORKER)
    counters = Canary.objects.values_list("published", "answered").first()
    published, answered = counters or (0, 0)
    if not detector.is_deaf(published=published, answered=answered):
        return
    if canary.broker_answers():
        end_process()
    else:
        detector.forgive(published=published)


def end_this_process() -> None:
    """Stop in order, so that requests are handed over; by force if that does not help."""
    log.critical("worker_is_deaf", action="ending this process; the supervisor restarts it")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(EXIT_GRACE_S)
    os._exit(1)
