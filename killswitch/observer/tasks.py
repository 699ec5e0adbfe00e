"""The worker's side of the canary: it answers, and watches whether canaries arrive."""

import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from killswitch.observer import canary, queue_liveness

STOP = threading.Event()


@shared_task(name=canary.TASK, ignore_result=True)
def answer(*, nonce: str) -> None:
    """Show that this worker takes messages from the queue."""
    queue_liveness.DETECTOR.record_received()
    canary.record_round_trip(nonce)


@worker_ready.connect
def start(**_: Any) -> None:
    """Send heartbeats, and notice when no messages arrive from the queue any more."""
    queue_liveness.watch(STOP)


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Stop watching: a worker that is stopping takes no more messages, which is not a fault."""
    STOP.set()
