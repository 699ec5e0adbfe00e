"""`manage.py verify_audit`: does the log hold, and since when not?"""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from killswitch.audit import signing
from killswitch.audit.verification.findings import (
    Finding,
    VerificationImpossible,
    VerificationResult,
)
from killswitch.audit.verification.verify import verify

GOOD, BAD, NOT_CHECKED = 0, 1, 2


class Command(BaseCommand):
    """Exit 0 and the head; 1, the first bad event and why; 2 when it could not be checked."""

    help = (
        "Verify the audit log: the chain, its guards, the checkpoints, and that the working tables"
        " agree with it. Exit 0: all of it holds. 1: it does not; the first bad event is named."
        " 2: it could not be checked."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--checkpoint",
            metavar="FILE",
            type=Path,
            help="checkpoints that somebody kept elsewhere, one line each (default: the"
            " installation's own checkpoints.jsonl)",
        )
        parser.add_argument(
            "--public-key",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="a public key (PEM) known from elsewhere that checkpoints may be signed with",
        )
        parser.add_argument(
            "--without-tables",
            action="store_true",
            help="leave out the comparison with the working tables, e.g. for a restored log",
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
            verdict = verify(
                checkpoint_file=checkpoint,
                public_pems=[_read_key(path) for path in public_key],
                with_tables=not without_tables,
                progress=self._tell,
            )
        except (VerificationImpossible, Error) as error:
            self.stderr.write(f"The log could not be checked: {plain(str(error))}")
            sys.exit(NOT_CHECKED)
        self._say(verdict)
        sys.exit(GOOD if verdict.ok else BAD)

    def _say(self, verdict: VerificationResult) -> None:
        for warning in verdict.warnings:
            self.stderr.write(f"Warning: {plain(warning)}")
        if verdict.first is None:
            self.stdout.write(
                f"The log verifies: {verdict.events} events, head {verdict.head_seq}"
                f" {verdict.head_hash}"
            )
            self.stderr.write(
                f"Checkpoints cover events up to {verdict.kept_seq} of {verdict.head_seq}."
            )
            return
        self.stdout.write(f"The log does NOT verify. {_line(verdict.first)}")
        for finding in verdict.findings:
            if finding is not verdict.first:
                self.stdout.write(f"Also: {_line(finding)}")

    def _tell(self, what: str, done: int, of: int) -> None:
        total = f" of {of}" if of else ""
        self.stderr.write(f"{what}: {done}{total}")
        self.stderr.flush()


def _line(finding: Finding) -> str:
    where = "no event" if finding.seq is None else f"first bad seq {finding.seq}"
    return f"{finding.proof}, {where}: {plain(finding.reason)}"


def plain(text: str) -> str:
    """On one line and printable: a name in a forged database may hold orders to the terminal."""
    line = " ".join(text.split())
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line
    )


def _read_key(path: Path) -> str:
    try:
        pem = path.read_text("ascii")
        signing.key_id(pem)
    except (OSError, ValueError) as error:
        raise VerificationImpossible(f"{path} holds no Ed25519 public key ({error})") from None
    return pem
