"""Readiness for every page: measured at most about once a second in each process."""

import threading
import time
from dataclasses import dataclass
from typing import Literal

from django.db import Error

from killswitch.readiness.checks import Readiness, look

FRESH = 1.5  # seconds for which pages share one look
WORDS = {"READY": "READY", "DEGRADED": "DEGRADED", "NOT_READY": "NOT READY"}
Word = Literal["READY", "DEGRADED", "NOT_READY"]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One word for the whole, the sentence behind it, and the facts when they could be read."""

    word: str
    sentence: str
    readiness: Readiness | None = None

    @property
    def label(self) -> str:
        return WORDS.get(self.word, self.word)

    @property
    def note(self) -> str:
        """What stands beside the word: measured times when all is well, else what is not."""
        if self.word != "READY" or self.readiness is None:
            return self.sentence
        measured = [each for each in self.readiness.checks if each.milliseconds is not None]
        return " · ".join(f"{each.label} {each.milliseconds:.0f} ms" for each in measured)


_lock = threading.Lock()
_last: tuple[float, Strip] | None = None


def strip() -> Strip:
    """The last look, when it is fresh; otherwise a new one."""
    global _last  # noqa: PLW0603 - one memory for each process is the point
    with _lock:
        if _last and time.monotonic() - _last[0] < FRESH:
            return _last[1]
    newest = _look()
    with _lock:
        _last = (time.monotonic(), newest)
    return newest


def forget() -> None:
    """Look anew next time."""
    global _last  # noqa: PLW0603
    with _lock:
        _last = None


def _look() -> Strip:
    try:
        readiness = look()
    except Error:
        return Strip(word="NOT_READY", sentence="The database cannot be read.")
    return Strip(word=str(readiness.word), sentence=readiness.sentence, readiness=readiness)
