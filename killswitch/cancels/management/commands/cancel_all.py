"""`manage.py cancel_all`: the same kill from the command line, for when there is no browser."""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

import structlog
from django.core.management.base import BaseCommand
from django.db import Error, connection

from killswitch.audit.os_user import command_line_actor
from killswitch.cancels import execution, services
from killswitch.cancels.management import graceful_exit
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange

log = structlog.get_logger(__name__)

CLAIM_WAIT_S = 1.0  # seconds that others have to claim the requests before this process does
POLL_INTERVAL_S = 0.1  # seconds between two looks at the rows
DATABASE_RETRY_S = 2.0  # seconds, while the database cannot be read
ALL_CONFIRMED, NOT_ALL, REFUSED = 0, 1, 2


class Command(BaseCommand):
    """One JSON line for each finished request."""

    help = (
        "Cancels all open orders on the exchanges. Exit: 0 all CONFIRMED, 1 not all,"
        " 2 refused and nothing recorded."
    )

    # A fault in a page must not keep this command from cancelling.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("exchange_id", nargs="*", metavar="EXCHANGE_ID")
        parser.add_argument("--all", action="store_true", help="on every enabled exchange")
        parser.add_argument("--reason", default="", help="why; kept with the request")

    def handle(self, *_: Any, **options: Any) -> None:
        with graceful_exit.catch_signals() as self._interrupted:
            sys.exit(self._cancel(options))

    def _cancel(self, options: dict[str, Any]) -> int:
        try:
            exchanges = _chosen(options["exchange_id"], everywhere=options["all"])
            asked = services.request_cancel_from_command_line(
                exchanges=exchanges,
                everywhere=options["all"],
                who=command_line_actor(),
                reason=options["reason"],
            )
        except RequestRefused as refused:
            return self._refuse(str(refused))
        except services.NothingToCancel:
            return self._refuse("No enabled exchange is left to cancel on.")
        except (services.NotRecorded, Error) as error:
            why = _cause(error)
            return self._refuse(f"The request could not be recorded, so nothing was sent: {why}")
        except services.CommitOutcomeUnknown:
            self.stderr.write(
                "The database went away at the commit: not known whether it was recorded."
                " It is carried out if it was; give the command again to be sure."
            )
            return NOT_ALL
        all_asked = len(asked.ids) == len(exchanges)
        if not all_asked:
            self.stderr.write("An exchange was disabled at this moment; nothing was sent there.")
        confirmed = self._follow(asked)
        return ALL_CONFIRMED if confirmed and all_asked else NOT_ALL

    def _refuse(self, why: str) -> int:
        self.stderr.write(why)
        return REFUSED

    def _follow(self, asked: services.CancelResult) -> bool:
        """Print each request as it finishes; True when every one is confirmed."""
        waiting, confirmed = set(asked.ids), True
        ours_at = time.monotonic() + CLAIM_WAIT_S
        while waiting:
            if self._interrupted.is_set():
                return self._leave(asked.batch)
            if time.monotonic() >= ours_at:
                _carry_out(waiting)
                ours_at = time.monotonic() + CLAIM_WAIT_S
            for request in _finished(waiting):
                waiting.discard(request.pk)
                confirmed = confirmed and request.status == Status.CONFIRMED
                self.stdout.write(_line(request))
                self.stdout.flush()
            if waiting:
                self._interrupted.wait(POLL_INTERVAL_S)
        return confirmed

    def _leave(self, batch: Batch) -> bool:
        self.stderr.write(
            f"Interrupted: the request is recorded as batch {batch.uuid}, and what is not finished"
            " will be carried out by the running system, or after its next start."
        )
        graceful_exit.release_leases()
        return False


class RequestRefused(Exception):
    """The command line asks for something that cannot be; nothing is recorded."""


def _chosen(exchange_ids: Sequence[str], *, everywhere: bool) -> list[Exchange]:
    if everywhere == bool(exchange_ids):
        raise RequestRefused("Name the exchanges, or give --all: one of the two.")
    enabled = list(Exchange.objects.enabled())
    if everywhere:
        return enabled
    known = {exchange.exchange_id: exchange for exchange in enabled}
    missing = [exchange_id for exchange_id in exchange_ids if exchange_id not in known]
    if missing:
        raise RequestRefused(
            f"Not enabled here: {', '.join(missing)}."
            f" Enabled are: {', '.join(known) or 'none'}. Nothing was recorded or sent."
        )
    return [known[exchange_id] for exchange_id in dict.fromkeys(exchange_ids)]


def _cause(error: Exception) -> str:
    """The database's own words: an exception of ours has none."""
    lines = str(error.__cause__ or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _finished(waiting: set[int]) -> list[CancelRequest]:
    try:
        rows = CancelRequest.objects.final().filter(id__in=waiting)
        return list(rows.select_related("batch").order_by("finished_at", "id"))
    except Error:
        connection.close()  # what is broken is not used again
        # Recorded it is; the outcome is printed when the database can be read again.
        time.sleep(DATABASE_RETRY_S)
        return []


def _line(request: CancelRequest) -> str:
    return json.dumps(
        {
            "request_id": str(request.uuid),
            "batch_id": str(request.batch.uuid),
            "exchange_id": request.exchange_id,
            "status": request.status,
            "reject_reason": request.reject_reason or None,
            "message": request.message or None,
            "open_orders_after": request.open_after,
            "attempts": request.attempt_count,
            "sentence": request.conclusion or None,
        }
    )


def _carry_out(waiting: set[int]) -> None:
    try:
        execution.run(ids=sorted(waiting))
    except Error as error:  # it is tried again with the next look
        log.warning("not_claimed", error=str(error).strip())
