"""Readiness as every page shows it: one word with its icon, and a note."""

from dataclasses import dataclass

from killswitch.readiness.health_checks import Level, Readiness
from killswitch.readiness.views import READINESS

# static/js/freshness.js has the same table.
BADGES = {"READY": ("ok", "good"), "DEGRADED": ("half", "warn"), "NOT_READY": ("no", "bad")}
UNKNOWN_BADGE = ("ask", "odd")


@dataclass(frozen=True, kw_only=True)
class ReadinessBar:
    """The word for the whole system, its icon and tone, and the checks behind it."""

    readiness: Readiness

    @property
    def word(self) -> str:
        return self.readiness.word.value

    @property
    def icon(self) -> str:
        return BADGES.get(self.word, UNKNOWN_BADGE)[0]

    @property
    def tone(self) -> str:
        return BADGES.get(self.word, UNKNOWN_BADGE)[1]

    @property
    def note(self) -> str:
        """The measured times when the system is ready, else what is wrong."""
        if self.readiness.word is not Level.READY:
            return self.readiness.sentence
        timed = [check for check in self.readiness.checks if check.milliseconds is not None]
        return " · ".join(f"{check.label} {check.milliseconds:.0f} ms" for check in timed)


def readiness_bar() -> ReadinessBar:
    """Return the newest readiness of this process, at most about a second old."""
    return ReadinessBar(readiness=READINESS.get())
