"""Prepares the database for this version; safe to repeat, and on several hosts at once."""

from typing import Any

from django.core.management.base import BaseCommand

from killswitch.supervision.checks import CannotStart
from killswitch.supervision.preflight import check_database
from killswitch.supervision.prepare import create_sqlite_file, prepare


class Command(BaseCommand):
    help = (
        "Bring the database to this version and add the exchanges in KILLSWITCH_EXCHANGES;"
        " `up` does this itself."
    )
    requires_system_checks: list[str] = []

    def handle(self, **_options: Any) -> None:
        create_sqlite_file()
        if problem := check_database():
            raise CannotStart(problem)
        prepare()
        self.stdout.write("The database is prepared.")
