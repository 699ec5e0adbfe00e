"""`manage.py verify_audit`: verify the log, and name the first bad event."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.db import Error

from killswitch.audit import signing
from killswitch.audit.verification.findings import (
    Finding,
    VerificationImpossible,
    VerificationResult,
)
from killswitch.audit.verification.verify import verify
from killswitch.runtime.priority import LowPriorityCommand
from killswitch.runtime.text import escape_controls

VERIFIED, NOT_VERIFIED, NOT_CHECKED = 0, 1, 2


class Command(LowPriorityCommand):
    """Exits with 0 and the head; 1, the first bad event and the reason; 2 if it cannot verify."""

    help = (
        "Verify the audit log: the chain, its triggers, the checkpoints, and that the working"
        " tables agree with it. Exit 0: verification passed. 1: it failed; the first bad event is"
        " named. 2: the log could not be verified."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoint",
            metavar="FILE",
            type=Path,
            help="checkpoints that were kept elsewhere, one line each (default: the"
            " installation's own checkpoints.jsonl)",
        )
        parser.add_argument(
            "--public-key",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="a public key (PEM) from elsewhere that you trust to sign checkpoints",
        )
        parser.add_argument(
            "--without-tables",
            action="store_true",
            help="do not compare the working tables, e.g. for a restored log",
        )

    def handle(
        self,
        *,
        checkpoint: Path | None,
        public_key: list[Path],
        without_tables: bool,
        **_options: Any,
    ) -> None:
        try:
            result = verify(
                checkpoint_file=checkpoint,
                public_pems=[read_key(path) for path in public_key],
                with_tables=not without_tables,
                on_two_processors=self.has_own_process,
                progress=self._print_progress,
            )
        except (VerificationImpossible, Error) as error:
            self.stderr.write(f"The log could not be verified: {one_line(str(error))}")
            sys.exit(NOT_CHECKED)
        self._print_result(result)
        sys.exit(VERIFIED if result.ok else NOT_VERIFIED)

    def _print_result(self, result: VerificationResult) -> None:
        for warning in result.warnings:
            self.stderr.write(f"Warning: {one_line(warning)}")
        if result.first is None:
            self.stdout.write(
                f"Verification passed: {result.events} events, newest event {result.head_seq},"
                f" fingerprint {result.head_hash}"
            )
            self.stderr.write(
                f"Checkpoints cover events up to {result.kept_seq} of {result.head_seq}."
            )
            return
        self.stdout.write(f"Verification FAILED. {_finding_line(result.first)}")
        for finding in result.findings:
            if finding is not result.first:
                self.stdout.write(f"Also: {_finding_line(finding)}")

    def _print_progress(self, subject: str, done: int, total: int) -> None:
        self.stderr.write(f"{subject}: {done} of {total}" if total else f"{subject}: {done}")
        self.stderr.flush()


def _finding_line(finding: Finding) -> str:
    where = "" if finding.seq is None else f", first bad event {finding.seq}"
    return f"{finding.proof}{where}: {one_line(finding.reason)}"


def one_line(text: str) -> str:
    """Return the text on one line, safe for a terminal: a forged name may contain commands."""
    return escape_controls(" ".join(text.split()))


def read_key(path: Path) -> str:
    """Return the PEM of a public key in a file. Raises `VerificationImpossible`."""
    try:
        pem = path.read_text("ascii")
        signing.key_id(pem)
    except (OSError, ValueError) as error:
        raise VerificationImpossible(f"{path} is not an Ed25519 public key ({error})") from None
    return pem
