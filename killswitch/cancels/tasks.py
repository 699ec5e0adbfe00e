"""The Celery entry point: one message a press, and the row is the truth."""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down

from killswitch.cancels import execution, leases, publishing


@shared_task(name=publishing.TASK, ignore_result=True)
def run(*, ids: list[int]) -> None:
    """Carry the requests out."""
    execution.run(ids=ids)


@worker_shutting_down.connect
def let_go(**_: Any) -> None:
    """End every pause at once, so that a stop hands everything over."""
    leases.STOP.set()
