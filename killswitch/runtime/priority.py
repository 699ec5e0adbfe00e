"""Lowers the priority of a long command below that of the processes that carry out cancels."""

import gc
import os
from typing import Any

from django.core.management.base import BaseCommand

NICENESS = 10


class LowPriorityCommand(BaseCommand):
    """A command whose own process gives way to all others that want the processor.

    A call from another process, as in tests, changes nothing: its priority cannot be raised again.
    """

    has_own_process = False

    def run_from_argv(self, argv: list[str]) -> Any:
        self.has_own_process = True
        os.nice(NICENESS)
        gc.freeze()  # what is loaded so far stays; looking through it takes a tenth of the time
        return super().run_from_argv(argv)
