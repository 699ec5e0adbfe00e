"""What verification can find, in words that every part of it shares."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Progress = Callable[[str, int, int], None]
"""Told now and then: what is being checked, how many of them are done, of how many (0: unknown)."""


class VerificationImpossible(Exception):
    """Nothing can be said of the log, and why."""


class Proof(StrEnum):
    """Which proof failed; the worst first."""

    CHAIN = "CHAIN"
    CHECKPOINT = "CHECKPOINT"
    TABLES = "TABLES"
    GUARDS = "GUARDS"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One proof that failed. `seq` is None where no event is concerned."""

    proof: Proof
    seq: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """What a verification found. Warnings are worth reading and break nothing."""

    head_seq: int
    head_hash: str
    events: int
    kept_seq: int = 0  # the newest event that a kept head covers
    findings: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings

    @property
    def first(self) -> Finding | None:
        """The finding to be told first: a broken chain before all that may follow from it."""
        return min(self.findings, key=lambda one: list(Proof).index(one.proof), default=None)

    @property
    def first_bad_seq(self) -> int | None:
        return self.first.seq if self.first else None

    @property
    def reason(self) -> str:
        return self.first.reason if self.first else ""


def no_progress(_what: str, _done: int, _of: int) -> None:
    """The progress that is told to nobody."""
