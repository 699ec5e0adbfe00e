"""The Celery task: one message for each press, and the rows are the truth."""

from typing import Any

from celery import shared_task
from celery.signals import worker_ready, worker_shutting_down

from killswitch.cancels import execution, leases, publishing
from killswitch.runtime.shutdown import STOP


@shared_task(name=publishing.TASK, ignore_result=True)
def run(*, ids: list[int]) -> None:
    """Start to carry the requests out."""
    execution.run(ids=ids)


@worker_ready.connect
def start(**_: Any) -> None:
    """Tell later requests from those that were recorded before this worker started."""
    leases.note_requests_at_start()


@worker_shutting_down.connect
def shut_down(**_: Any) -> None:
    """End every pause at once, so that all requests are released for other processes."""
    STOP.set()
