"""The result of a verification, as all its parts report it, and as it is stored for the pages."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models.functions import Now

from killswitch.audit.models import Verification

Progress = Callable[[str, int, int], None]
"""Called now and then with what is checked, how many are done, and of how many (0: unknown)."""


class VerificationImpossible(Exception):
    """The log could not be verified; the message is the reason."""


class Proof(StrEnum):
    """The proofs that can fail, the worst first."""

    CHAIN = "CHAIN"
    CHECKPOINT = "CHECKPOINT"
    TABLES = "TABLES"
    GUARDS = "GUARDS"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One proof that failed. `seq` is None if no single event is concerned."""

    proof: Proof
    seq: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """The findings of a verification. Warnings are no failures."""

    head_seq: int
    head_hash: str
    events: int
    kept_seq: int = 0  # the newest event that a checkpoint covers
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """Return the worst finding: a broken chain before all that may follow from it."""
        return min(
            self.findings, key=lambda finding: list(Proof).index(finding.proof), default=None
        )

    @property
    def first_bad_seq(self) -> int | None:
        return self.first.seq if self.first else None

    @property
    def reason(self) -> str:
        return self.first.reason if self.first else ""

    def store(self, *, whole: bool) -> None:
        """Replace the stored result; one of the newest events only keeps the last warnings."""
        values: dict[str, Any] = {
            "at": Now(),
            "ok": self.ok,
            "head_seq": self.head_seq,
            "head_hash": self.head_hash,
            "first_bad_seq": self.first_bad_seq,
            "reason": self.reason,
        }
        if whole:
            warnings = "\n".join(self.warnings)
            values |= {"warnings": warnings, "whole_at": Now(), "whole_seq": self.head_seq}
            Verification.objects.update_or_create(id=1, defaults=values)
        else:
            Verification.objects.filter(id=1).update(**values)


def no_progress(_subject: str, _done: int, _total: int) -> None:
    """Report no progress."""
