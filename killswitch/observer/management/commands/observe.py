"""`manage.py observe`: the observer's process."""

from typing import Any

from django.core.management.base import BaseCommand

from killswitch.observer.process import observe
from killswitch.runtime.shutdown import STOP, set_on_signals


class Command(BaseCommand):
    """Run until SIGTERM or Ctrl-C."""

    help = "Read all open orders from the EMS regularly and check whether a cancel could be sent."
    # A fault in a page must not keep the figures from being read.
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        observe(set_on_signals(STOP))
