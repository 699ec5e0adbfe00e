"""What a kill needs of the place where it records what it does: the database, or a journal."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from killswitch.cancels.conclusion import AttemptLike, Conclusion, OpenOrdersAfter
from killswitch.cancels.states import Status
from killswitch.ems.answers import TimedCancelAnswer


class EarlierAttempt(AttemptLike, Protocol):
    """An attempt of an earlier holder, as it was recorded."""

    @property
    def finished_at(self) -> datetime: ...
    @property
    def by_dead_holder(self) -> bool: ...


class KillRecord(Protocol):
    """Where a kill records what it does.

    Every method but `announce_attempt` raises `LeaseLost` when another process has taken the
    request over.
    """

    def earlier_attempts(self) -> Sequence[EarlierAttempt]:
        """Return the attempts of earlier holders, oldest first."""

    def ensure_lease(self) -> None:
        """Return if the request may be sent again."""

    def announce_attempt(self) -> None:
        """Record that a cancel is about to be sent."""

    def attempt(self, answer: TimedCancelAnswer, *, next_attempt_at: datetime | None) -> None:
        """Record one call to the EMS."""

    def verifying(self) -> None:
        """Record that the list of open orders decides from here on."""

    def read(self, *, next_attempt_at: datetime | None) -> None:
        """Record that the open orders were read, which is progress."""

    def end(
        self, *, before: Status, conclusion: Conclusion, last_list: OpenOrdersAfter | None
    ) -> None:
        """Record the final status."""
