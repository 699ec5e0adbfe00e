"""The worker's side of the observer: it answers canaries and sends heartbeats."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready

from killswitch.observer import canary, ems_reach
from killswitch.readiness import watch
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.periodic import PeriodicTask
from killswitch.runtime.shutdown import STOP


@shared_task(name=canary.TASK, ignore_result=True)
def answer(*, nonce: str) -> None:
    """Show that this worker takes messages from the queue."""
    canary.record_round_trip(nonce)


@worker_ready.connect
def start(**_: Any) -> None:
    """Send heartbeats and test the EMS until this worker shuts down and takes no more messages."""
    PeriodicTask(
        name="worker_heartbeat",
        work=lambda: heartbeats.beat_without_flush(Process.WORKER),
        interval_s=heartbeats.INTERVAL_S,
        keep_connection=True,
        is_aligned=True,
    ).start_thread(STOP)
    ems_reach.start_thread(Process.WORKER, STOP)
    watch.start_thread(STOP)
