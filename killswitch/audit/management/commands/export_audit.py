"""`manage.py export_audit`: the log, or a part of it, to standard output."""

import os
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from killswitch.audit.export import export
from killswitch.audit.export.formats import ExportFormat
from killswitch.audit.filters import EventFilter, InvalidFilter
from killswitch.audit.os_user import command_line_actor

FILTERS = {
    "from": "from this time on: 2026-11-22, or 2026-11-22T08:30:00 (UTC)",
    "to": "before this time; a day includes all of that day",
    "exchange": "of this exchange id",
    "actor": "by this person, as the log names them",
    "kind": "of this kind, such as FINISHED",
    "status": "with this status, such as CONFIRMED",
    "reject_reason": "with this reject reason",
    "request": "of the request with this id",
    "text": "that hold this text",
}
REFUSED = 2


class Command(BaseCommand):
    """Bytes to standard output, words to standard error."""

    help = (
        "Exports the audit log, or the events that all filters select. Exit: 0 complete,"
        " 2 refused or not complete; the last line of a complete export is its manifest."
    )

    # A fault in a page must not keep anybody from the evidence.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--format", choices=[one.value for one in ExportFormat], default=ExportFormat.JSONL
        )
        for name, words in FILTERS.items():
            option = name.replace("_", "-")
            parser.add_argument(f"--{option}", dest=name, default="", metavar="…", help=words)
        parser.add_argument(
            "--unreviewed",
            action="store_const",
            const="1",
            default="",
            help="that wait for somebody's review",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            begun = export.begin(
                selection=EventFilter.from_words(
                    {name: options[name] for name in EventFilter.NAMES}
                ),
                layout=ExportFormat(options["format"]),
                who=command_line_actor(),
                origin={},
            )
        except (
            InvalidFilter,
            export.ExportNotRecorded,
            ImproperlyConfigured,
            Error,
            OSError,
        ) as error:
            _refuse(f"Nothing was exported. {error}")
        try:
            _write(begun)
        except BrokenPipeError:
            # Nobody reads any more; without this the interpreter complains at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _refuse("The export is not complete: whoever read it has gone.")
        except (export.ExportNotRecorded, Error, OSError) as error:
            _refuse(f"The export is not complete, and has no manifest. {error}")


def _refuse(why: str) -> NoReturn:
    raise CommandError(why, returncode=REFUSED)


def _write(begun: export.Export) -> None:
    for piece in begun.stream():
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
