"""Readiness as every page shows it: one word, and what stands beside it."""

from dataclasses import dataclass

from killswitch.readiness.health_checks import Level, Readiness
from killswitch.readiness.views import READINESS


@dataclass(frozen=True, kw_only=True)
class ReadinessBar:
    """One word for the whole, the sentence behind it, and the facts it rests on."""

    readiness: Readiness

    @property
    def word(self) -> str:
        return self.readiness.word.value

    @property
    def note(self) -> str:
        """What stands beside the word: measured times when all is well, else what is not."""
        if self.readiness.word is not Level.READY:
            return self.readiness.sentence
        measured = [each for each in self.readiness.checks if each.milliseconds is not None]
        return " · ".join(f"{each.label} {each.milliseconds:.0f} ms" for each in measured)


def readiness_bar() -> ReadinessBar:
    """The process's newest look, about a second old at most."""
    return ReadinessBar(readiness=READINESS.get())
