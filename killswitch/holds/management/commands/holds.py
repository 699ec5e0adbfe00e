"""`manage.py holds`: which exchanges are held, for when there is no browser."""

import sys
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error

from killswitch.holds.management.hold_lines import json_line
from killswitch.holds.models import Hold
from killswitch.runtime.text import error_line

LISTED, NOT_LISTED = 0, 2


class Command(BaseCommand):
    """Prints one JSON line for each active Hold, the oldest first."""

    help = (
        "List the active Holds. Exit code: 0 listed (no line: no exchange is held),"
        " 2 the Holds cannot be read."
    )

    # An error in a page must not keep this command from running.
    requires_system_checks = []

    def handle(self, *_: Any, **__: Any) -> None:
        try:
            holds = list(Hold.objects.active().order_by("id"))
        except Error as error:
            self.stderr.write(f"The Holds cannot be read from the database: {error_line(error)}")
            sys.exit(NOT_LISTED)
        for hold in holds:
            self.stdout.write(json_line(hold))
        sys.exit(LISTED)
