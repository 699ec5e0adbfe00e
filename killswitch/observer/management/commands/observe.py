"""`manage.py observe`: the observer's process."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from killswitch.observer.process import observe


class Command(BaseCommand):
    """Runs until SIGTERM or Ctrl-C."""

    help = "Read all open orders at the EMS again and again, and probe whether a click would work."
    # What `make check` looks at must not keep the figures from being read.
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        observe(stop)
