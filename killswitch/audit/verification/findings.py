"""The result of a verification, as all its parts report it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

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


def no_progress(_subject: str, _done: int, _total: int) -> None:
    """Report no progress."""
