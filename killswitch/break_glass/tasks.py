"""The worker's side of break glass: its kills go on without the database, in its host's journal."""

from typing import Any

from celery.signals import worker_ready

from killswitch.break_glass import upkeep
from killswitch.runtime.shutdown import STOP


@worker_ready.connect
def start(**_: Any) -> None:
    """Keep this host ready for break glass, and recover its journal, until the worker ends."""
    upkeep.start_threads(STOP)
