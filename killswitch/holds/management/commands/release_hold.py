"""`manage.py release_hold`: releases Holds from the command line, by the rule of the pages.

The first call requests the release, and one by another person confirms it. A request that was made
in the browser can be confirmed here, and the other way round.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connection

from killswitch.audit.actors import command_line_actor
from killswitch.cancels.models import Origin
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.management.hold_lines import json_line
from killswitch.holds.models import Hold, HoldState
from killswitch.holds.services import Act, ReleaseRefused
from killswitch.runtime.text import error_line, escape_controls, pluralize_count

ALL_RELEASED, NOT_ALL, REFUSED = 0, 1, 2


class Command(BaseCommand):
    """Prints one JSON line for each Hold of the named exchanges, as `holds` does."""

    help = (
        "Release the Holds of the named exchanges. The first call requests it, with a reason; a"
        " call by another person within 15 minutes confirms it. Exit code: 0 all released, 1 not"
        " all released, or requested and not confirmed yet, 2 refused (nothing changed)."
    )

    # An error in a page must not keep this command from running.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("exchange_id", nargs="+", metavar="EXCHANGE_ID")
        parser.add_argument(
            "--reason", default="", help="needed to request a release, kept when confirming one"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        names = list(dict.fromkeys(options["exchange_id"]))
        sys.exit(self._release_all(names, reason=options["reason"]))

    def _release_all(self, names: Sequence[str], *, reason: str) -> int:
        try:
            known = Exchange.objects.filter(exchange_id__in=names)
            unknown = set(names) - set(known.values_list("exchange_id", flat=True))
        except Error as error:
            self.stderr.write(f"The database failed: {error_line(error)}. Nothing was changed.")
            return REFUSED
        if unknown:
            ids = escape_controls(", ".join(sorted(unknown)))
            self.stderr.write(f"Unknown exchange ID: {ids}. Nothing was changed.")
            return REFUSED
        changed: list[Hold] = []
        for name in names:
            before = None
            try:
                holds = Hold.objects.active().select_related("configured_exchange")
                before = holds.filter(configured_exchange__exchange_id=name).first()
                if before:
                    changed += self._release(before, reason=reason)
                else:
                    self.stderr.write(f"{name}: it is not held. Nothing was changed.")
            except Error as error:
                self.stderr.write(f"{name}: the database failed: {error_line(error)}.")
                changed += self._after_failure(before) if before else []
                break
        if [hold.state for hold in changed] == [HoldState.RELEASED] * len(names):
            return ALL_RELEASED
        return NOT_ALL if changed else REFUSED

    def _release(self, before: Hold, *, reason: str) -> list[Hold]:
        """Request or confirm a release, say what was done, and return the Hold if it changed."""
        act = Act(by=command_line_actor(), origin=Origin.COMMAND_LINE)
        try:
            if before.state == HoldState.RELEASE_REQUESTED:
                hold = services.confirm_release(
                    before, act=act, requested_at=before.release_requested_at, note=reason
                )
            else:
                hold = services.request_release(before, act=act, reason=reason)
        except ReleaseRefused as refusal:
            self.stderr.write(f"{before.exchange_id}: {_refusal_text(refusal, before)}")
            self._print(Hold.objects.get(pk=before.pk))
            return []
        self.stderr.write(
            f"{hold.exchange_id}: {_done_text(hold)}"
            f" {_figures_text(hold, before.configured_exchange)}"
        )
        self._print(hold)
        return [hold]

    def _after_failure(self, before: Hold) -> list[Hold]:
        """Say what the database has recorded, and return the Hold if it has, or may have, changed.

        The connection may have been lost at the commit, whose answer is missing then.
        """
        if not connection.in_atomic_block:
            connection.close()
        try:
            hold = Hold.objects.get(pk=before.pk)
        except Error:
            self.stderr.write(
                f"{before.exchange_id}: it is not known whether the release was recorded."
                " `manage.py holds` shows it, once the database can be read again."
            )
            return [before]
        is_changed = (hold.state, hold.release_requested_at) != (
            before.state,
            before.release_requested_at,
        )
        text = _done_text(hold) if is_changed else "nothing was changed. Still held."
        self.stderr.write(f"{hold.exchange_id}: {text}")
        self._print(hold)
        return [hold] if is_changed else []

    def _print(self, hold: Hold) -> None:
        self.stdout.write(json_line(hold))
        self.stdout.flush()


def _done_text(hold: Hold) -> str:
    if hold.state != HoldState.RELEASED:
        return (
            "the release is requested, and the exchange is still held. Another person must confirm"
            f" it by {_end_text(hold)}, in the browser or by running this command under another"
            " login."
        )
    by = escape_controls(hold.release_requested_by)
    reason = f"Reason: “{escape_controls(hold.release_reason)}”."
    how = f"requested by {by} and confirmed by {escape_controls(hold.released_by)}"
    if hold.released_by == hold.release_requested_by:
        how = f"by {by} alone, as HOLD_RELEASE_PERSONS=1 allows"
    return f"released, {how}. {reason} The Hold no longer cancels its orders."


def _figures_text(hold: Hold, exchange: Exchange) -> str:
    """Return what was open and what the Hold has done, as a person sees it on the page."""
    seen_at = exchange.seen_at
    open_orders = "Open orders: not known."
    if exchange.open_orders is not None and seen_at:
        orders = pluralize_count(exchange.open_orders, "open order")
        open_orders = f"{orders} as of {seen_at:%H:%M:%S} UTC."
    episodes = pluralize_count(hold.episode_count, "episode")
    return f"{open_orders} {episodes}, {pluralize_count(hold.orders_seen, 'order')} seen so far."


def _refusal_text(refusal: ReleaseRefused, hold: Hold) -> str:
    by = escape_controls(hold.release_requested_by)
    match refusal:
        case services.NotHeld():
            return "it is no longer held. Nothing was changed."
        case services.ReasonMissing():
            return "a release needs a reason: add --reason TEXT. Nothing was changed."
        case services.SamePerson():
            return (
                f"the release was requested by {by}, and you may be the same person."
                f" Another person must confirm it by {_end_text(hold)}. Still held."
            )
        case services.ReleaseLapsed():
            return (
                f"the release requested by {by} was not confirmed within 15 minutes and has lapsed."
                " Still held. Run the command again with --reason to request it again."
            )
        case services.ReleaseAlreadyRequested():
            return "its release has just been requested. Still held."
        case _:
            return f"the release requested by {by} was withdrawn or replaced just now. Still held."


def _end_text(hold: Hold) -> str:
    requested_at = hold.release_requested_at
    return f"{requested_at + services.RELEASE_VALID_FOR:%H:%M:%S} UTC" if requested_at else ""
