"""`manage.py abandon_in_flight`: ends old cancels before a restored backup is started."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error

from killswitch.audit.actors import command_line_actor
from killswitch.cancels.abandoning import abandon, abandonable
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.recording import LeaseLost
from killswitch.cancels.services import MAX_REASON_CHARS
from killswitch.holds.models import Hold
from killswitch.runtime.text import clean_line, error_line, pluralize_count

ALL_ENDED, NOT_ALL, REFUSED = 0, 1, 2


class Command(BaseCommand):
    """Prints one JSON line for each request that it has ended."""

    help = (
        "End the requests in flight without sending them, each with an event and an alarm: for a"
        " backup that was restored, before the kill switch is started on it. Exit code: 0 none is"
        " in flight any more, 1 some are still carried out by a process, 2 refused."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", required=True, help="why, stored with each request")

    def handle(self, *_: Any, **options: Any) -> None:
        reason = clean_line(options["reason"], max_chars=MAX_REASON_CHARS)
        if not any(map(str.isalnum, reason)):
            self.stderr.write("The reason contains no letter and no digit. Nothing was changed.")
            sys.exit(REFUSED)
        try:
            sys.exit(self._abandon_all(reason))
        except Error as error:
            self.stderr.write(f"The database cannot be used: {error_line(error)}")
            sys.exit(REFUSED)

    def _abandon_all(self, reason: str) -> int:
        by = command_line_actor()
        for snapshot in abandonable():
            try:
                request = abandon(snapshot, by=by, reason=reason)
            except LeaseLost:
                continue  # a process has taken it over
            if request:
                values = {
                    "request_id": str(request.uuid),
                    "exchange_id": request.exchange_id,
                    "status": request.status,
                    "conclusion": request.conclusion,
                }
                self.stdout.write(json.dumps(values, ensure_ascii=False))
        for hold in Hold.objects.active().order_by("id"):
            self.stderr.write(
                f"{hold.exchange_id} has been held since {hold.started_at:%Y-%m-%d %H:%M:%S} UTC."
                " Once the kill switch runs, it cancels the orders that the EMS lists there. To end"
                " the Hold, use"
                f" `manage.py release_hold {hold.exchange_id}`."
            )
        rest = CancelRequest.objects.in_flight().count()
        if rest:
            self.stderr.write(
                f"{pluralize_count(rest, 'request')} not ended: a running process is carrying them"
                " out. Stop the kill switch on all hosts and run this again."
            )
        return NOT_ALL if rest else ALL_ENDED
