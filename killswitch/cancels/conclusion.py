"""How several attempts and one list of open orders add up to what is known. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from killswitch.cancels.states import Status
from killswitch.ems.answers import Outcome
from killswitch.ems.open_orders import OpenOrders


class AttemptLike(Protocol):
    """What one attempt says: an `Answer` just received, or an `Attempt` on record."""

    @property
    def outcome(self) -> str: ...
    @property
    def may_have_been_carried_out(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class AttemptSummary:
    """What the attempts of one request say together."""

    acknowledged: bool = False
    possible: bool = False
    refused: bool = False

    @classmethod
    def of(cls, calls: Iterable[AttemptLike]) -> "AttemptSummary":
        evidence = cls()
        for call in calls:
            evidence = evidence.with_call(call)
        return evidence

    def with_call(self, call: AttemptLike) -> "AttemptSummary":
        return AttemptSummary(
            acknowledged=self.acknowledged or call.outcome == Outcome.ACKNOWLEDGED,
            possible=self.possible or call.may_have_been_carried_out,
            refused=self.refused or call.outcome == Outcome.REJECTED,
        )

    @property
    def list_decides(self) -> bool:
        """Orders may have been cancelled, so only the list of open orders can tell."""
        return self.acknowledged or self.possible


@dataclass(frozen=True, kw_only=True)
class OpenOrdersAfter:
    """The newest list of open orders that was begun after the last POST had ended."""

    orders: OpenOrders
    count: int | None  # None: it could not be read

    @property
    def at(self) -> datetime:
        return self.orders.finished_at


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The final status, and one honest sentence that says why."""

    status: Status
    sentence: str


def conclude(evidence: AttemptSummary, reading: OpenOrdersAfter | None) -> Conclusion:
    """The status that the evidence earns, and no better one."""
    if evidence.list_decides:
        return _by_list(evidence, reading)
    if evidence.refused:
        return Conclusion(
            status=Status.REJECTED, sentence=f"The EMS refused the cancel. {_beside(reading)}"
        )
    return Conclusion(
        status=Status.NOT_DELIVERED,
        sentence="No connection to the EMS came about, so it never got the cancel.",
    )


def _by_list(evidence: AttemptSummary, reading: OpenOrdersAfter | None) -> Conclusion:
    asked = (
        "The EMS acknowledged the cancel"
        if evidence.acknowledged
        else "The cancel may or may not have been carried out"
    )
    if reading is None or reading.count is None:
        status = Status.UNVERIFIED if evidence.acknowledged else Status.UNKNOWN
        return Conclusion(
            status=status,
            sentence=f"{asked}; the open orders could not be read ({_why_not(reading)}).",
        )
    if reading.count == 0:
        return Conclusion(
            status=Status.CONFIRMED,
            sentence=f"{asked}; the EMS listed no open orders at {_time_text(reading.at)}.",
        )
    return Conclusion(
        status=Status.RESIDUAL,
        sentence=f"{asked}; the EMS still listed {_orders(reading.count)}"
        f" at {_time_text(reading.at)}.",
    )


def _beside(reading: OpenOrdersAfter | None) -> str:
    if reading is None or reading.count is None:
        return f"The open orders could not be read ({_why_not(reading)})."
    return f"It listed {_orders(reading.count)} at {_time_text(reading.at)}."


def _why_not(reading: OpenOrdersAfter | None) -> str:
    return reading.orders.error if reading else "nobody read them"


def _orders(count: int) -> str:
    return "1 open order" if count == 1 else f"{count} open orders"


def _time_text(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
