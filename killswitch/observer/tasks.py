"""The worker's side of the canary; importing this also makes a worker watch its own hearing."""

import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from killswitch.observer import canary, queue_liveness

STOP = threading.Event()


@shared_task(name=canary.TASK, ignore_result=True)
def answer(*, nonce: str) -> None:
    """Show that this worker takes from the queue."""
    queue_liveness.DETECTOR.heard()
    canary.record_round_trip(nonce)


@worker_ready.connect
def begin(**_: Any) -> None:
    """Beat, and notice when nothing comes from the queue any more."""
    queue_liveness.listen(STOP)


@worker_shutting_down.connect
def end(**_: Any) -> None:
    """A worker that is stopping takes nothing more, and that is no fault."""
    STOP.set()
