"""How several attempts and one list of open orders add up to what is known. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome
from killswitch.ems.open_orders import TimedOpenOrders
from killswitch.runtime.text import pluralize_count


class AttemptLike(Protocol):
    """An answer just received, or an `Attempt` on record."""

    @property
    def outcome(self) -> str: ...
    @property
    def may_have_been_carried_out(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """What the attempts of one request prove together."""

    acknowledged: bool = False
    possible: bool = False
    refused: bool = False

    @classmethod
    def of(cls, attempts: Iterable[AttemptLike]) -> "AttemptSummary":
        summary = cls()
        for attempt in attempts:
            summary = summary.including(attempt)
        return summary

    def including(self, attempt: AttemptLike) -> "AttemptSummary":
        return AttemptSummary(
            acknowledged=self.acknowledged or attempt.outcome == Outcome.ACKNOWLEDGED,
            possible=self.possible or attempt.may_have_been_carried_out,
            refused=self.refused or attempt.outcome == Outcome.REJECTED,
        )

    @property
    def list_decides(self) -> bool:
        """Return True when orders may have been cancelled, so only the list can tell."""
        return self.acknowledged or self.possible


@dataclass(frozen=True, kw_only=True)
class OpenOrdersAfter:
    """The newest list of open orders that was requested after the last POST had ended."""

    answer: TimedOpenOrders
    count: int | None  # None: it could not be read

    @property
    def read_at(self) -> datetime:
        return self.answer.finished_at


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The final status, and one honest sentence that gives the reason."""

    status: Status
    sentence: str


def conclude(attempts: AttemptSummary, last_list: OpenOrdersAfter | None) -> Conclusion:
    """Return the status that the attempts and the list prove, and no better one."""
    if attempts.list_decides:
        match last_list.count if last_list else None:
            case None:
                status = Status.UNVERIFIED if attempts.acknowledged else Status.UNKNOWN
            case 0:
                status = Status.CONFIRMED
            case _:
                status = Status.RESIDUAL
        if attempts.acknowledged:
            outcome = "The EMS accepted the cancel"
        else:
            outcome = "The cancel may or may not have been carried out"
    elif attempts.refused:
        status, outcome = Status.REJECTED, "The EMS rejected the cancel"
    else:
        return Conclusion(
            status=Status.NOT_DELIVERED,
            sentence="No connection to the EMS could be made, so the cancel was not delivered.",
        )
    return Conclusion(status=status, sentence=f"{outcome}. {_list_text(last_list)}.")


def _list_text(last_list: OpenOrdersAfter | None) -> str:
    if last_list is None:
        return "The open orders were not checked"
    if last_list.count is None:
        return f"The open orders could not be read ({last_list.answer.error})"
    orders = pluralize_count(last_list.count, "open order") if last_list.count else "no open orders"
    return f"At {last_list.read_at:%H:%M:%S} UTC the EMS listed {orders}"
