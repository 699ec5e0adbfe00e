"""`manage.py healthy KIND`: the health check of a container."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process

KINDS = ("watchdog", "worker", "observer")
MAX_AGE_S = 10.0


class Command(BaseCommand):
    help = (
        "Exit 0 if a process of this kind on this host has sent a heartbeat in the last 10 s,"
        " otherwise 1."
    )
    # Runs every few seconds, so it checks this one thing only.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("kind", choices=KINDS)

    def handle(self, *_: Any, **options: Any) -> None:
        kind = str(options["kind"])
        try:
            age = heartbeats.age_here(Process[kind.upper()])
        except Error:
            raise CommandError("the database does not respond", returncode=1) from None
        last_heartbeat = age.phrase("last heartbeat", never="no heartbeat yet")
        if not age.within(MAX_AGE_S):
            raise CommandError(f"{kind} on this host: {last_heartbeat}", returncode=1)
        self.stdout.write(f"{kind} on this host: {last_heartbeat}")
