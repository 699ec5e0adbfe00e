"""Scenarios of single calls, as values: the effect on the orders, the answer and its delivery."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from killswitch.simulator.http import ORDINARY, Delivery, Outgoing

EVERY_EXCHANGE = "*"  # the name under which the list of all exchanges is scripted


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


class ScenarioQueues:
    """The scenarios of the next calls of every exchange, apart for cancelling and listing."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, Call], deque[Scenario]] = {}
        self._lock = threading.Lock()

    def put(
        self, exchange_id: str, *, call: Call, scenarios: Sequence[Scenario], tag: str = ""
    ) -> None:
        """Replace what was scripted there before."""
        queue = deque(replace(scenario, tag=tag) for scenario in scenarios)
        with self._lock:
            self._queues[exchange_id, call] = queue

    def next(self, exchange_id: str, *, call: Call) -> Scenario:
        """Consume and return the next scenario; an ordinary one when the queue is empty."""
        with self._lock:
            queue = self._queues.get((exchange_id, call))
            if not queue:
                return Scenario()
            return queue[0] if queue[0].repeat else queue.popleft()

    def clear(self) -> None:
        """Remove all scenarios: from now on every call is an ordinary one."""
        with self._lock:
            self._queues.clear()
