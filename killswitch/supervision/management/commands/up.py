"""Starts the whole system, or some of its programs, and keeps it running."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from killswitch.supervision.run import run


class Command(BaseCommand):
    help = "Start all programs and restart any that exit; Ctrl-C or SIGTERM stops them."
    requires_system_checks: list[str] = []  # `run` runs its own

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only",
            metavar="NAMES",
            default="",
            help="only these programs, e.g. `web` or `worker,watchdog`; does not prepare the"
            " database (see `manage.py prepare`)",
        )

    def handle(self, *, only: str, **_options: Any) -> None:
        os.umask(0o077)  # every file it writes holds orders, users or secrets
        run(only=tuple(name.strip() for name in only.split(",") if name.strip()))
