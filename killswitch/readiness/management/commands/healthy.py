"""`manage.py healthy KIND`: whether such a process is alive on this host, for container checks."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process

KINDS = ("watchdog", "worker", "observer")
LIMIT = 10.0  # seconds


class Command(BaseCommand):
    """Exit 0 when it beats, 1 when it does not or when that cannot be told."""

    help = "Exit 0 when a process of this kind has shown signs of life on this host."
    # Asked every few seconds: only what it is asked for is looked at.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=KINDS)

    def handle(self, *_: Any, **options: Any) -> None:
        kind = str(options["kind"])
        try:
            age = heartbeats.age_here(Process[kind.upper()])
        except Error:
            raise CommandError("the database does not answer", returncode=1) from None
        if not age.within(LIMIT):
            raise CommandError(f"the {kind} on this host last beat: {age}", returncode=1)
        self.stdout.write(f"the {kind} on this host last beat: {age}")
