"""Scenarios of single calls, as values: the effect on the orders, the answer and its delivery."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from killswitch.simulator.http import ORDINARY, Delivery, Outgoing


class Call(StrEnum):
    """The two calls that can be scripted."""

    CANCEL = "cancel"
    LIST = "list"


@dataclass(frozen=True, kw_only=True)
class CancelEffect:
    """What a cancel really does to the open orders, of which the first `leaves` stay open."""

    carried_out: bool = True
    leaves: int = 0
    venue_refuses: bool = False
    comes_back_after_s: float | None = None


NOTHING = CancelEffect(carried_out=False)
EVERYTHING = CancelEffect()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that happens to one call.

    `reply` makes the answer for the exchange of the call; without it, the answer is the ordinary
    one.
    """

    name: str = "ok"
    cancel_effect: CancelEffect = EVERYTHING
    reply: Callable[[str], Outgoing] | None = None
    delivery: Delivery = ORDINARY
    grouped_by: str = ""
    repeat: bool = False
    tag: str = ""
