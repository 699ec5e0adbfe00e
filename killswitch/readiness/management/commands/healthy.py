"""`manage.py healthy KIND`: the health check of a container."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process

KINDS = ("watchdog", "worker", "observer")
MAX_AGE_S = 10.0


class Command(BaseCommand):
    """Exit 0 when the process is alive, 1 when it is not or when that is unknown."""

    help = "Exit 0 when a process of this kind has sent a heartbeat on this host lately."
    # Runs every few seconds, so it checks this one thing only.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=KINDS)

    def handle(self, *_: Any, **options: Any) -> None:
        kind = str(options["kind"])
        try:
            age = heartbeats.age_here(Process[kind.upper()])
        except Error:
            raise CommandError("the database does not answer", returncode=1) from None
        if not age.within(MAX_AGE_S):
            raise CommandError(f"the {kind} on this host last sent a heartbeat {age}", returncode=1)
        self.stdout.write(f"the {kind} on this host last sent a heartbeat {age}")
