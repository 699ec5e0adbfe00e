"""Judges the checks: the readiness in one word, and in a sentence for people."""

from dataclasses import dataclass, replace
from enum import StrEnum

from killswitch.runtime.age import ago
from killswitch.runtime.text import escape_controls, truncate

MAX_DETAIL_CHARS = 200


class Level(StrEnum):
    """The readiness in one word."""

    READY = "READY"
    DEGRADED = "DEGRADED"
    NOT_READY = "NOT_READY"


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check. While a `needed` one fails, no cancel works.

    `public` replaces `detail` for strangers, where the detail repeats words of the EMS.
    """

    name: str
    label: str
    ok: bool
    needed: bool = False
    detail: str
    public: str = ""
    age_seconds: float | None = None
    milliseconds: float | None = None

    @property
    def age_text(self) -> str:
        """Return the age of the result, empty if there is none or the detail states it."""
        if self.age_seconds is None or " ago" in self.detail:
            return ""
        return ago(self.age_seconds)


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The readiness in one word and in a sentence, with the checks behind it."""

    word: Level
    sentence: str
    checks: tuple[Check, ...]


def judge(checks: tuple[Check, ...]) -> Readiness:
    """Return the word and the sentence that follow from the checks."""
    # Workers and watchdogs stand in for each other: one of the two is needed.
    carriers = {check.name: check.ok for check in checks if check.name in {"worker", "watchdog"}}
    if carriers and not any(carriers.values()):
        checks = tuple(
            replace(check, needed=True) if check.name in carriers else check for check in checks
        )
    failures = [check for check in checks if not check.ok]
    obstacles = [check for check in failures if check.needed]
    reasons = "; ".join(f"{check.label}: {check.detail}" for check in obstacles or failures)
    if obstacles:
        return Readiness(word=Level.NOT_READY, sentence=f"Not ready. {reasons}.", checks=checks)
    if failures:
        sentence = f"Degraded. A cancel can be recorded, but: {reasons}."
        return Readiness(word=Level.DEGRADED, sentence=sentence, checks=checks)
    sentence = "Ready: a cancel would go through."
    return Readiness(word=Level.READY, sentence=sentence, checks=checks)


def without_database(detail: str) -> Readiness:
    """Return the readiness when no request can be recorded."""
    return judge((Check(name="database", label="Database", ok=False, needed=True, detail=detail),))


def redacted_for_public(readiness: Readiness) -> Readiness:
    """Return the readiness in our own words: the EMS's may name an account or contain a key."""
    return judge(
        tuple(replace(check, detail=check.public or check.detail) for check in readiness.checks)
    )


def foreign(detail: str) -> str:
    """Return words of another system, without characters that act on a screen."""
    return truncate(escape_controls(detail), MAX_DETAIL_CHARS) or "reason unknown"
