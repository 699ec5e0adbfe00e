"""`manage.py break_glass`: cancels with no database, no queue and no other process.

It imports no model and sets up no Django app, so it starts within half a second and works even
if they are broken.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.conf import settings

from killswitch import structured_logs
from killswitch.audit.actors import command_line_actor
from killswitch.break_glass import exchange_snapshot, execution, rehearsal
from killswitch.break_glass.exchange_snapshot import NoSnapshot, Snapshot
from killswitch.break_glass.execution import INTERRUPTED, RunningPress
from killswitch.break_glass.journal import host_journal
from killswitch.break_glass.press import Press, Presser, RequestState, new_press
from killswitch.cancels.states import Status
from killswitch.ems.exchange_ids import InvalidExchangeId, check_exchange_id
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.shutdown import STOP, shutdown_signals
from killswitch.runtime.text import (
    close_names,
    duration_text,
    escape_controls,
    pluralize_count,
)

ALL_CONFIRMED, NOT_ALL, REFUSED = 0, 1, 2
POLL_INTERVAL_S = 0.05
MAX_END_S = 1.0  # after an interruption, for calls that are under way
DESCRIPTION = (
    "Cancel all open orders on the named exchanges, without the database and the queue. The cancel"
    " is journaled on this host's disk and added to the audit log later. Exit code: 0 all"
    " CONFIRMED, 1 not all, 2 refused (nothing sent)."
)


class UsageError(Exception):
    """The command line names no valid target; nothing was sent."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("exchange_id", nargs="*", metavar="EXCHANGE_ID")
    parser.add_argument(
        "--all", action="store_true", help="on every exchange that was enabled when last known"
    )
    parser.add_argument("--reason", default="", help="reason, recorded with the cancel")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="test everything but the cancel itself, and print what works",
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    parser = argparse.ArgumentParser(prog="manage.py break_glass", description=DESCRIPTION)
    add_arguments(parser)
    options = parser.parse_args(list(arguments))
    structured_logs.configure({**settings.LOGGING, "level": "warning"})
    return carry_out(vars(options))


def carry_out(options: Mapping[str, Any]) -> int:
    """Cancel or rehearse with these options, and return the exit code."""
    if settings.DEMO:
        _say(
            "This is the demo: EMS_BASE_URL is not set, so nothing reaches an exchange, only the"
            f" simulator at {settings.EMS_BASE_URL}."
        )
    if options["rehearse"]:
        return _rehearse()
    return run(options["exchange_id"], everywhere=options["all"], reason=options["reason"])


def _rehearse() -> int:
    """Print one JSON line for each step, and return 0 if all of them worked."""
    steps = rehearsal.rehearse()
    for step in steps:
        sys.stdout.write(json.dumps(asdict(step)) + "\n")
        _say(f"{'ok  ' if step.ok else 'FAIL'} {step.name}: {escape_controls(step.detail)}")
    return ALL_CONFIRMED if all(step.ok for step in steps) else NOT_ALL


def run(exchange_ids: Sequence[str], *, everywhere: bool, reason: str) -> int:
    """Cancel, print one JSON line for each request and a table, and return the exit code."""
    try:
        snapshot = exchange_snapshot.read(settings.KILLSWITCH_HOME)
        missing_because = ""
    except NoSnapshot as error:
        snapshot, missing_because = None, str(error)
    try:
        names = _target(exchange_ids, everywhere=everywhere, snapshot=snapshot, why=missing_because)
    except UsageError as error:
        _say(str(error))
        return REFUSED
    actor = command_line_actor()
    press = new_press(
        names,
        everywhere=everywhere,
        snapshot=snapshot,
        by=Presser(name=actor.name, role=actor.role, gesture="break_glass command"),
        reason=reason,
    )
    with shutdown_signals() as interrupted:
        running = execution.start(press, journal=host_journal())
        _say(f"Break glass: cancelling on {pluralize_count(len(names), 'exchange')}.")
        pending = list(running.states)
        ends = Deadline(math.inf)
        while pending:
            was_over = running.is_over or ends.has_passed
            for state in [state for state in pending if state.is_final or was_over]:
                pending.remove(state)
                sys.stdout.write(_line(state, press=press) + "\n")
                sys.stdout.flush()
            if STOP.is_set():
                time.sleep(POLL_INTERVAL_S)
            elif pending and interrupted.wait(POLL_INTERVAL_S):
                STOP.set()
                ends = Deadline(MAX_END_S)
    _report(running)
    is_confirmed = all(state.status is Status.CONFIRMED for state in running.states)
    return ALL_CONFIRMED if is_confirmed else NOT_ALL


def _target(
    exchange_ids: Sequence[str], *, everywhere: bool, snapshot: Snapshot | None, why: str
) -> list[str]:
    if everywhere == bool(exchange_ids):
        raise UsageError("Give either the IDs of exchanges or --all. Nothing was sent.")
    if everywhere:
        if snapshot is None:
            raise UsageError(
                f"The exchanges are not known on this host ({why}). Give their IDs instead of"
                " --all. Nothing was sent."
            )
        names = [row.exchange_id for row in snapshot.exchanges if row.enabled]
        if not names:
            raise UsageError("No exchange was enabled when last known. Nothing was sent.")
        _say(f"The exchanges are those enabled when last known, {_age_text(snapshot)}.")
        return names
    names = list(dict.fromkeys(exchange_ids))
    for name in names:
        try:
            check_exchange_id(name)
        except InvalidExchangeId as error:
            raise UsageError(f"{escape_controls(str(error))}. Nothing was sent.") from None
    if snapshot is None:
        _say(f"The IDs cannot be checked on this host ({why}); they are sent as typed.")
        return names
    known_ids = [row.exchange_id for row in snapshot.exchanges]
    for name in names:
        row = snapshot.find(name)
        if row is None:
            close = close_names(name, known_ids)
            hint = f" Did you mean {', '.join(map(escape_controls, close))}?" if close else ""
            _say(
                f"Warning: {escape_controls(name)} was not configured when last known,"
                f" {_age_text(snapshot)}; it is sent as typed.{hint}"
            )
        elif not row.enabled:
            _say(f"Warning: {escape_controls(name)} was disabled when last known.")
    return names


def _line(state: RequestState, *, press: Press) -> str:
    return json.dumps(
        {
            "request_id": state.request,
            "batch_id": press.uuid,
            "exchange_id": state.exchange_id,
            "status": str(state.status) if state.is_final else str(Status.UNKNOWN),
            "reject_reason": state.reject_reason or None,
            "message": state.message or None,
            "open_orders_after": state.open_after,
            "attempts": state.attempts,
            "sentence": _sentence(state) or None,
            "journaled": not state.not_journaled,
        }
    )


def _sentence(state: RequestState) -> str:
    return state.sentence or ("" if state.is_final else INTERRUPTED)


def _report(running: RunningPress) -> None:
    """Print a table for a person, and whether the journal has it all."""
    rows = [("EXCHANGE", "OUTCOME", "OPEN", "ATTEMPTS", "")]
    rows += [
        (
            escape_controls(state.exchange_id),
            str(state.status) if state.is_final else str(Status.UNKNOWN),
            "?" if state.open_after is None else str(state.open_after),
            str(state.attempts),
            escape_controls(_sentence(state)),
        )
        for state in running.states
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        _say("  ".join([*cells, row[4]]).rstrip())
    reasons = {state.not_journaled for state in running.states if state.not_journaled}
    if reasons:
        _say(
            f"NOT RECORDED, or not completely ({'; '.join(sorted(reasons))}). Keep all of this"
            " output, and give it to compliance."
        )
    else:
        _say(
            "Journaled on this host's disk. It is added to the audit log when the database is"
            " available and the kill switch runs on this host."
        )


def _age_text(snapshot: Snapshot) -> str:
    return f"{duration_text(snapshot.age_s * 1000)} ago ({snapshot.at:%Y-%m-%d %H:%M:%S} UTC)"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
