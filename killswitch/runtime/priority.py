"""Lowers the priority of a long command below that of the processes that carry out cancels."""

import gc
import os
from typing import Any

from django.core.management.base import BaseCommand

NICENESS = 10
OBJECTS_PER_COLLECTION = 50_000


class LowPriorityCommand(BaseCommand):
    """A command whose own process gives way to all others that want the processor.

    A call from another process, as in tests, changes nothing: its priority cannot be raised again.
    """

    has_own_process = False

    def run_from_argv(self, argv: list[str]) -> Any:
        self.has_own_process = True
        os.nice(NICENESS)
        # Python looks for unused cycles of objects, which takes a fifth of the time of a million
        # rows: less often then, and not among what is loaded so far, which stays.
        gc.freeze()
        gc.set_threshold(OBJECTS_PER_COLLECTION)
        return super().run_from_argv(argv)
