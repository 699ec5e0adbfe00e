"""`manage.py ems_simulator`: the stand-in EMS as a process of its own."""

import os
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from killswitch.simulator.server import Simulator

_END_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    help = "Run a stand-in EMS with live order books and scripted faults."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=9000, help="0 takes any free port")
        parser.add_argument(
            "--demo",
            action="store_true",
            help="serve the demo exchanges, whose orders change and whose faults are scripted",
        )
        parser.add_argument(
            "--key",
            default=os.environ.get("EMS_SIMULATOR_KEY", ""),
            help="the only API key to accept; EMS_SIMULATOR_KEY keeps it out of the process list",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        stop = threading.Event()
        for number in _END_SIGNALS:
            signal.signal(number, lambda *_: stop.set())
        simulator = Simulator(host=options["host"], key=options["key"], demo=options["demo"])
        try:
            simulator.start(options["port"])
        except (OSError, OverflowError) as error:
            raise CommandError(
                f"The simulator cannot listen on {options['host']}:{options['port']}: {error}"
            ) from None
        with simulator:
            self.stdout.write(f"EMS simulator: {simulator.url}")
            self.stdout.flush()
            stop.wait()
