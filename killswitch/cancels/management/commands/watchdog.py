"""`manage.py watchdog`: carries out what nobody carries out, and raises alarms."""

import signal
import threading
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand

from killswitch.alarms import outbox
from killswitch.cancels import watchdog
from killswitch.cancels.leases import STOP
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process


class Command(BaseCommand):
    """Run until SIGTERM or SIGINT."""

    help = "Takes over requests that nobody carries out; needs no broker. Any number may run."

    # A fault in a page must not keep this process from starting.
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: STOP.set())
        threading.Thread(target=outbox.send_pending, args=[STOP], name="tell", daemon=True).start()
        watchdog.run(STOP, beat=partial(heartbeats.beat, Process.WATCHDOG))
