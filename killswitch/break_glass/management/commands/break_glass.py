"""Lists `manage.py break_glass` in the help; `supervision.command_line` runs it without Django."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from killswitch.break_glass import command


class Command(BaseCommand):
    """Does the same for a caller that has set Django up."""

    help = command.DESCRIPTION
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        command.add_arguments(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        sys.exit(command.carry_out(options))
