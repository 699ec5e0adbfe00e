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

from killswitch.audit.actors import command_line_actor
from killswitch.cancels import execution, services, thread_slots
from killswitch.cancels.confirmation import Target
from killswitch.cancels.exclusions import Exclusions, exclusion_text
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.request_alarms import HOLD_LIMITS
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, ExchangeGroup
from killswitch.runtime.deadlines import wait_until
from killswitch.runtime.shutdown import STOP, shutdown_signals
from killswitch.runtime.text import error_line, escape_controls

log = structlog.get_logger(__name__)

# How long the requests are left to workers and watchdogs before this process claims them.
CLAIM_WAIT_S = 1.0
POLL_INTERVAL_S = 0.1
DATABASE_RETRY_S = 2.0
MAX_RELEASE_S = 1.0
ALL_CONFIRMED, NOT_ALL, REFUSED = 0, 1, 2


class Command(BaseCommand):
    """Prints one JSON line for each finished request."""

    help = (
        "Cancel all open orders on the named exchanges. Exit code: 0 all CONFIRMED, 1 not all,"
        " 2 refused (nothing recorded or sent)."
    )

    # An error in a page must not keep this command from cancelling.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("exchange_id", nargs="*", metavar="EXCHANGE_ID")
        parser.add_argument("--all", action="store_true", help="on every enabled exchange")
        parser.add_argument(
            "--group", metavar="NAME", help="on the exchanges of this group, e.g. “Desk A”"
        )
        parser.add_argument("--reason", default="", help="reason, stored with the request")
        parser.add_argument(
            "--hold",
            action="store_true",
            help=f"also keep cancelling there until the Hold is released. {HOLD_LIMITS}",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        with shutdown_signals() as self._interrupted:
            sys.exit(self._cancel(options))

    def _cancel(self, options: dict[str, Any]) -> int:
        try:
            target = _target(
                options["exchange_id"], everywhere=options["all"], group_name=options["group"]
            )
            result = services.request_cancel_from_command_line(
                target=target,
                by=command_line_actor(),
                reason=options["reason"],
                hold=options["hold"],
            )
        except UsageError as error:
            return self._refuse(str(error))
        except services.NothingToCancel:
            named = f"of the group {options['group']} " if options["group"] else ""
            return self._refuse(
                f"None of the exchanges {named}is enabled. Nothing was recorded or sent."
            )
        except (services.NotRecorded, Error) as error:
            cause = error_line(error.__cause__ or error)
            return self._refuse(
                f"The request could not be recorded, so nothing was sent: {cause}\n"
                "To cancel without the log, use `manage.py break_glass`."
            )
        except services.CommitOutcomeUnknown:
            self.stderr.write(
                "The connection to the database was lost while the request was being recorded. If"
                " it was recorded, it will be carried out. If you run the command again, the second"
                " cancel also cancels orders placed since the first."
            )
            if options["hold"]:
                self.stderr.write("`manage.py holds` lists the exchanges that are held.")
            return NOT_ALL
        if options["hold"]:
            self._report_holds(result)
        self._report_exclusions(result)
        includes_all = len(result.ids) == len(target.exchanges)
        if len(result.ids) < len(target.covered):
            self.stderr.write("An exchange has just been disabled; no cancel was sent to it.")
        all_confirmed = self._follow(result)
        return ALL_CONFIRMED if all_confirmed and includes_all else NOT_ALL

    def _report_holds(self, result: services.CancelResult) -> None:
        """Say which exchanges are held since this press, and which were held before it."""
        try:
            requests = CancelRequest.objects.filter(id__in=result.ids).order_by("id")
            names = list(requests.values_list("exchange_id", flat=True))
            new = set(result.batch.holds.values_list("exchange_id", flat=True))
        except Error as error:
            self.stderr.write(
                f"Which exchanges are held cannot be read ({error_line(error)}); `manage.py holds`"
                " lists them. The cancel and its Holds are recorded."
            )
            connection.close()
            return
        if new:
            held = ", ".join(name for name in names if name in new)
            self.stderr.write(f"Held from now on, until released: {held}. {HOLD_LIMITS}")
        if earlier := [name for name in names if name not in new]:
            self.stderr.write(f"Already held, unchanged: {', '.join(earlier)}.")

    def _report_exclusions(self, result: services.CancelResult) -> None:
        """Say on which exchanges nothing was sent, although orders may be open there."""
        exclusions = Exclusions.of(result.batch.not_included) or Exclusions()
        for entries, why in (
            (exclusions.not_enabled, "not enabled here"),
            (exclusions.disabled, "disabled here"),
        ):
            if entries:
                names = ", ".join(map(exclusion_text, entries))
                self.stderr.write(f"Not included, {why}: {escape_controls(names)}.")

    def _refuse(self, reason: str) -> int:
        self.stderr.write(reason)
        return REFUSED

    def _follow(self, result: services.CancelResult) -> bool:
        """Print each request as it finishes; return True when all are confirmed."""
        pending, all_confirmed = set(result.ids), True
        claim_at = time.monotonic() + CLAIM_WAIT_S
        while pending:
            if self._interrupted.is_set():
                self.stderr.write(
                    f"Interrupted. The cancel is recorded with the ID {result.batch.uuid}; requests"
                    " that have not finished will be carried out by the running system, or after it"
                    " next starts."
                )
                STOP.set()
                wait_until(thread_slots.idle, timeout_s=MAX_RELEASE_S, pause_s=0.05)
                return False
            if time.monotonic() >= claim_at:
                try:
                    execution.run(ids=sorted(pending))
                except Error as error:
                    log.warning("not_claimed", error=str(error).strip())
                claim_at = time.monotonic() + CLAIM_WAIT_S
            for request in _finished(pending):
                pending.discard(request.pk)
                all_confirmed = all_confirmed and request.status == Status.CONFIRMED
                self.stdout.write(_line(request))
                self.stdout.flush()
                if request.is_never_listed:
                    self.stderr.write(f"{request.exchange_id}: {request.conclusion}")
            if pending:
                self._interrupted.wait(POLL_INTERVAL_S)
        return all_confirmed


class UsageError(Exception):
    """The command line names no valid target; nothing is recorded."""


def _target(exchange_ids: Sequence[str], *, everywhere: bool, group_name: str | None) -> Target:
    if sum((everywhere, bool(exchange_ids), group_name is not None)) != 1:
        raise UsageError(
            "Name the exchanges or give --all or --group, but only one of them. Nothing was"
            " recorded or sent."
        )
    if group_name is not None:
        return Target.of_group(_group(group_name))
    enabled_exchanges = {exchange.exchange_id: exchange for exchange in Exchange.objects.enabled()}
    if everywhere:
        return Target(exchanges=tuple(enabled_exchanges.values()), everywhere=True)
    missing_ids = [
        exchange_id for exchange_id in exchange_ids if exchange_id not in enabled_exchanges
    ]
    if missing_ids:
        raise UsageError(
            f"Not enabled here: {escape_controls(', '.join(missing_ids))}. Enabled:"
            f" {escape_controls(', '.join(enabled_exchanges)) or 'none'}."
            " Nothing was recorded or sent."
        )
    return Target(exchanges=tuple(enabled_exchanges[name] for name in dict.fromkeys(exchange_ids)))


def _group(name: str) -> ExchangeGroup:
    groups = {group.name: group for group in ExchangeGroup.objects.all()}
    if name not in groups:
        raise UsageError(
            f"There is no group {escape_controls(name)}. Groups:"
            f" {escape_controls(', '.join(groups)) or 'none'}. Nothing was recorded or sent."
        )
    return groups[name]


def _finished(pending: set[int]) -> list[CancelRequest]:
    try:
        rows = CancelRequest.objects.final().filter(id__in=pending)
        return list(rows.select_related("batch").order_by("finished_at", "id"))
    except Error:
        # The requests are recorded; their outcome is printed when the database can be read again.
        connection.close()
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
