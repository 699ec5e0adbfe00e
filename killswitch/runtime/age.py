"""How long ago a time in the database was, and how long it was between two times."""

from dataclasses import dataclass
from datetime import datetime

from killswitch.runtime.text import duration_text

MAX_CLOCK_SKEW_S = 2.0  # by which the clocks of two hosts may differ without a warning


@dataclass(frozen=True, kw_only=True)
class Age:
    """Seconds since an event; None if it never happened, or if a clock has jumped."""

    seconds: float | None
    jumped: bool = False

    def within(self, limit_s: float) -> bool:
        """Return whether the event certainly happened no longer ago than that."""
        return self.seconds is not None and self.seconds <= limit_s

    def phrase(self, event: str, *, never: str) -> str:
        """Return e.g. "last checked 5 s ago"; `never` if the event has not happened yet."""
        if self.jumped:
            return "time is in the future: check the clocks"
        return never if self.seconds is None else f"{event} {ago(self.seconds)}"


def ago(seconds: float) -> str:
    """Return e.g. "0 s ago", "119 s ago" or "3 min ago"."""
    text = f"{seconds:.0f} s" if seconds < 120 else duration_text(seconds * 1000)
    return f"{text} ago"


def age(*, at: datetime | None, now: datetime) -> Age:
    """Return the age of a time. A time in the future proves no freshness: a clock was set back."""
    if at is None:
        return Age(seconds=None)
    seconds = (now - at).total_seconds()
    if seconds < -MAX_CLOCK_SKEW_S:
        return Age(seconds=None, jumped=True)
    return Age(seconds=max(0.0, seconds))


def elapsed_ms(*, start: datetime | None, end: datetime | None) -> float | None:
    """Return the milliseconds between two times; None if one is missing.

    Also None if the end lies before the start, because clocks differ or one was set back. Where one
    process sees both ends, it measures with its monotonic clock instead.
    """
    if start is None or end is None or end < start:
        return None
    return (end - start).total_seconds() * 1000
