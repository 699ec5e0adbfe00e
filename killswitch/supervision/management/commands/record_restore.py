"""`manage.py record_restore`: records that the database was restored from a backup."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.db import Error

from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit import checkpoints, restores
from killswitch.audit.actors import command_line_actor
from killswitch.audit.management.commands.verify_audit import one_line, read_key
from killswitch.audit.recorder import recording
from killswitch.audit.restores import MAX_REASON_CHARS, RESTORED, Loss, NotFirst, Restore
from killswitch.audit.verification import chain_walk
from killswitch.audit.verification.checkpoint_check import find_loss
from killswitch.audit.verification.findings import VerificationImpossible, no_progress
from killswitch.audit.verification.verify import verify
from killswitch.observer.audit_upkeep import try_to_write_checkpoint
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Heartbeat, Process
from killswitch.runtime.revisions import mark_restore
from killswitch.runtime.text import clean_line, error_line, pluralize_count

HEARTBEATS_S = heartbeats.INTERVAL_S + 1.0
VERIFIED, NOT_VERIFIED, REFUSED = 0, 1, 2
CONSEQUENCES = (
    "Cancels in the lost events may have been sent: compare the EMS's own record, the process logs"
    " and the notifications with this log. Passwords, roles, second factors and exchanges are"
    " as they were in the backup. All users were signed out."
)


class Refusal(Exception):
    """Nothing was recorded; the message is the reason."""


class Command(BaseCommand):
    """Prints what is lost as far as checkpoints show it, and the result of a verification."""

    help = (
        "Record that the database was restored from a backup, as a signed event and an alarm, so"
        " that the log verifies again. Run it before the kill switch is started, on the host that"
        " has the newest checkpoints.jsonl. Exit code: 0 recorded, and the log was verified; 1"
        " recorded, but verification fails for another reason; 2 refused."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", required=True, help="why, stored with the event")
        parser.add_argument(
            "--checkpoint",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="more checkpoints, from other hosts or an archive",
        )
        parser.add_argument(
            "--public-key",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="an earlier public key (PEM) with which checkpoints were signed",
        )
        parser.add_argument(
            "--without-checkpoints",
            action="store_true",
            help="record it although no checkpoints are left: what was lost is then not known",
        )
        parser.add_argument(
            "--system-was-started",
            action="store_true",
            help="record it although other events have the numbers of lost ones, because the kill"
            " switch was started, or another command was run, since the restore",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            loss, reason = self._examine(**options)
        except (Refusal, VerificationImpossible) as refusal:
            self.stderr.write(f"{one_line(str(refusal)).rstrip('.')}. Nothing was recorded.")
            sys.exit(REFUSED)
        except Error as error:
            self.stderr.write(
                f"The database cannot be used: {error_line(error)}. Nothing was recorded."
            )
            sys.exit(REFUSED)
        try:
            restore = _record(loss, reason=reason)
        except NotFirst:
            self.stderr.write(
                "Another process has recorded an event meanwhile. Stop the kill switch on all hosts"
                " first. Nothing was recorded."
            )
            sys.exit(REFUSED)
        except Error as error:
            self.stderr.write(
                f"The database cannot be used: {error_line(error)}. Whether it was recorded is not"
                " known: when the database works, look for an event RESTORED, or run this again."
            )
            sys.exit(REFUSED)
        self.stdout.write(f"Recorded: {one_line(str(restore))}.")
        try_to_write_checkpoint(RESTORED)
        sys.exit(VERIFIED if self._is_verified() else NOT_VERIFIED)

    def _examine(
        self,
        *,
        reason: str,
        checkpoint: list[Path],
        public_key: list[Path],
        without_checkpoints: bool,
        system_was_started: bool,
        **_: Any,
    ) -> tuple[Loss, str]:
        """Return what is lost, and the reason as it is recorded."""
        reason = clean_line(reason, max_chars=MAX_REASON_CHARS)
        if not any(map(str.isalnum, reason)):
            raise Refusal("The reason contains no letter and no digit")
        files = _files(checkpoint, may_be_none=without_checkpoints)
        pems = [read_key(path) for path in public_key]
        if running := _running_programs():
            raise Refusal(
                f"Programs are running on this database: {', '.join(running)}. Stop the kill switch"
                " on all hosts first"
            )
        if finding := chain_walk.walk().finding:
            raise Refusal(
                f"The log in this database is itself damaged: {finding.reason}. Restore another"
                " backup, or keep this one and inform compliance"
            )
        loss = find_loss(files, public_pems=pems, progress=no_progress)
        if loss.replaced and not system_was_started:
            checkpoints = pluralize_count(loss.replaced, "checkpoint")
            raise Refusal(
                f"Other events are in the place of those of {checkpoints}, so events were recorded"
                " since the restore, or the log was rewritten. If you have started the kill switch"
                " or run other commands since the restore, add --system-was-started"
            )
        return loss, reason

    def _is_verified(self) -> bool:
        """Verify as the observer does, and store the result for the readiness."""
        try:
            result = verify()
            result.store(whole=True)
        except (VerificationImpossible, Error) as error:
            self.stdout.write(f"The log could not be verified: {one_line(str(error))}")
            return False
        for warning in result.warnings:
            self.stderr.write(f"Warning: {one_line(warning)}")
        if result.first:
            self.stdout.write(f"Verification FAILED: {one_line(result.reason)}")
        else:
            self.stdout.write(f"Verification passed: {result.events} events.")
        return result.ok


def _files(more: Sequence[Path], *, may_be_none: bool) -> list[Path]:
    own = checkpoints.default_path()
    files = [*([own] if own.exists() else []), *more]
    if not files and not may_be_none:
        raise Refusal(
            f"There is no {own}, so what was lost is not known. Run this on the host of the"
            " observer, name a copy with --checkpoint, or use --without-checkpoints if none is"
            " left."
        )
    return files


def _running_programs() -> list[str]:
    """Return which programs send heartbeats, also those that a backup does not know."""
    before = set(Heartbeat.objects.values_list("kind", "host", "beats"))
    time.sleep(HEARTBEATS_S)
    after = set(Heartbeat.objects.values_list("kind", "host", "beats"))
    return sorted(f"{Process(kind).label.lower()} on {host}" for kind, host, _ in after - before)


def _record(loss: Loss, *, reason: str) -> Restore:
    with recording() as record:
        mark_restore()
        record.take_revision()  # before the chain
        Session.objects.all().delete()
        restore = restores.record(record, loss, by=command_line_actor(), reason=reason)
        text = str(restore)
        raise_alarm(
            kind=AlarmKind.RESTORED,
            subject=f"{restore.restored_seq} {restore.recorded_at}",
            title="The database was restored from a backup.",
            detail=f"{text[0].upper()}{text[1:]}.\n{CONSEQUENCES}",
        )
    return restore
