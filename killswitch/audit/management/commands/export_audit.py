"""`manage.py export_audit`: write the log, or a part of it, to standard output."""

import os
import sys
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import Error

from killswitch.audit.actors import command_line_actor
from killswitch.audit.export import export
from killswitch.audit.export.formats import ExportFormat
from killswitch.audit.filter_fields import FIELDS
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import EventKind
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.priority import LowPriorityCommand

FILTERS = {
    "from": "from this time on: 2026-11-22, or 2026-11-22T08:30:00 (UTC)",
    "to": "before this time; a day includes all of that day",
    "exchange": "whose exchange ID contains this text",
    "actor": "by a user whose name contains this text, and the outcomes of their requests",
    "kind": f"of this event type: {', '.join(EventKind.values)}",
    "status": "with this status, such as CONFIRMED; NOT_CONFIRMED for every other outcome",
    "reject_reason": "whose reject reason contains this text",
    "request": "of the request with this ID",
    "text": "that contain this text",
}
REFUSED = 2


class Command(LowPriorityCommand):
    """Writes the export to standard output and messages to standard error."""

    help = (
        "Export the audit log, or the events that match all filters. Exit: 0 complete,"
        " 2 refused or incomplete; the last line of a complete export is its manifest."
    )

    # A broken page must not block access to the evidence.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=list(ExportFormat), default=ExportFormat.JSONL)
        for name, help_text in FILTERS.items():
            option = name.replace("_", "-")
            parser.add_argument(f"--{option}", dest=name, default="", metavar="…", help=help_text)
        parser.add_argument(
            "--unreviewed",
            action="store_const",
            const="1",
            default="",
            help="that have not been reviewed yet",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            new_export = export.begin(
                selection=EventFilter.from_words({name: options[name] for name in FIELDS}),
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
            for chunk in new_export.stream():
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Without this the interpreter prints an error at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _refuse("The export is incomplete: its reader closed the pipe.")
        except (export.ExportNotRecorded, Error, OSError) as error:
            _refuse(f"The export is incomplete and has no manifest. {error}")


def _refuse(reason: str) -> NoReturn:
    raise CommandError(reason, returncode=REFUSED)
