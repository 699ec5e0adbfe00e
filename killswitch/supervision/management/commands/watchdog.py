"""`manage.py watchdog`: takes over requests, enforces Holds, and sends notifications."""

import threading
from contextlib import suppress
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error

from killswitch.alarms import outbox
from killswitch.break_glass import upkeep as break_glass
from killswitch.cancels import watchdog
from killswitch.holds import enforcement
from killswitch.observer import ems_reach
from killswitch.readiness import watch
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.shutdown import STOP, set_on_signals


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT."""

    help = (
        "Take over requests that no process is handling, enforce Holds, and send the notifications"
        " of alarms. Needs no queue; any number may run."
    )

    # An error in a page must not keep this process from starting.
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        set_on_signals(STOP)
        threading.Thread(
            target=outbox.send_pending, args=[STOP], name="outbox", daemon=True
        ).start()
        break_glass.start_threads(STOP)
        ems_reach.start_thread(Process.WATCHDOG, STOP)
        watch.start_thread(STOP)
        enforcer = enforcement.start_threads(STOP)
        watchdog.run(STOP, beat=partial(heartbeats.beat_without_flush, Process.WATCHDOG))
        with suppress(Error):  # another process takes the lease all the same, only later
            enforcer.release_lease()
