"""The worker's side of the observer: it answers canaries and sends heartbeats."""

import threading
from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from killswitch.observer import canary
from killswitch.runtime.heartbeats import Process, beat
from killswitch.runtime.periodic import PeriodicTask

HEARTBEAT_INTERVAL_S = 1.0
STOP = threading.Event()


@shared_task(name=canary.TASK, ignore_result=True)
def answer(*, nonce: str) -> None:
    """Show that this worker takes messages from the queue."""
    canary.record_round_trip(nonce)


@worker_ready.connect
def start(**_: Any) -> None:
    """Send heartbeats."""
    PeriodicTask(
        name="worker_heartbeat",
        work=lambda: beat(Process.WORKER),
        interval_s=HEARTBEAT_INTERVAL_S,
    ).start_thread(STOP)


@worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Stop the heartbeats: a worker that is stopping takes no more messages."""
    STOP.set()
