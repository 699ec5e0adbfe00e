"""The answer to "would a click work right now?": a word, a sentence, and what they rest on."""

from dataclasses import dataclass, replace
from enum import StrEnum


class Level(StrEnum):
    """The answer in a word."""

    READY = "READY"
    DEGRADED = "DEGRADED"
    NOT_READY = "NOT_READY"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding. `needed`: without it no click works, at least as things stand now.

    `public`: what strangers are told, where the detail repeats what somebody else said.
    """

    name: str
    label: str
    ok: bool
    needed: bool = False
    detail: str
    public: str = ""
    age_seconds: float | None = None
    milliseconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The answer, in a word, in a sentence, and with what it rests on."""

    word: Level
    sentence: str
    checks: tuple[Check, ...]


def without_database(detail: str) -> Readiness:
    """The answer when nothing can be recorded, and so nothing can be asked for."""
    check = Check(name="database", label="Database", ok=False, needed=True, detail=detail)
    return judge((check,))


def judge(checks: tuple[Check, ...]) -> Readiness:
    """The word and the sentence that follow from the findings."""
    checks = _somebody_must_carry_out(checks)
    missing = [check for check in checks if check.needed and not check.ok]
    weak = [check for check in checks if not check.needed and not check.ok]
    if missing:
        return Readiness(
            word=Level.NOT_READY,
            sentence=f"A click would not work now: {_listed(missing)}.",
            checks=checks,
        )
    if weak:
        return Readiness(
            word=Level.DEGRADED, sentence=f"A click works, but: {_listed(weak)}.", checks=checks
        )
    return Readiness(word=Level.READY, sentence="A click works now.", checks=checks)


def redacted_for_public(readiness: Readiness) -> Readiness:
    """The same in words of our own: the EMS's may name an account, or hold a key."""
    return judge(
        tuple(replace(check, detail=check.public or check.detail) for check in readiness.checks)
    )


def _listed(checks: list[Check]) -> str:
    return "; ".join(f"{check.label.lower()}: {check.detail}" for check in checks)


def _somebody_must_carry_out(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Workers and watchdogs stand in for each other; one of them is needed."""
    carriers = {check.name: check.ok for check in checks if check.name in {"worker", "watchdog"}}
    if not carriers or any(carriers.values()):
        return checks
    return tuple(
        replace(check, needed=True) if check.name in carriers else check for check in checks
    )
