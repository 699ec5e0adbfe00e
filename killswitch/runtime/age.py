"""How old a time from the database is, by the database's own clock, and what a jump does to it."""

from dataclasses import dataclass
from datetime import datetime

MAX_CLOCK_SKEW_S = (
    2.0  # seconds by which the clocks of two hosts may differ without anybody being told
)


@dataclass(frozen=True, kw_only=True)
class Age:
    """Seconds since something happened; None when it never did, or when a clock has jumped."""

    seconds: float | None
    jumped: bool = False

    def within(self, limit: float) -> bool:
        """Whether it is certain that it happened no longer ago than that."""
        return self.seconds is not None and self.seconds <= limit

    def __str__(self) -> str:
        if self.jumped:
            return "in the future: a clock has jumped"
        return "never" if self.seconds is None else f"{self.seconds:.0f} s ago"


def age(*, at: datetime | None, now: datetime) -> Age:
    """A time in the future is no proof of freshness: it says only that a clock was put back."""
    if at is None:
        return Age(seconds=None)
    seconds = (now - at).total_seconds()
    if seconds < -MAX_CLOCK_SKEW_S:
        return Age(seconds=None, jumped=True)
    return Age(seconds=max(0.0, seconds))
