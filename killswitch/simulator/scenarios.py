"""Scenarios of single calls, as values: the effect on the orders, the answer and its delivery."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from killswitch.simulator.parameters import Parameters

EVERY_EXCHANGE = "*"  # the name under which the list of all exchanges is scripted


class Call(StrEnum):
    """The two calls that can be scripted."""

    CANCEL = "cancel"
    LIST = "list"


class Effect(StrEnum):
    """What a cancel really does to the open orders."""

    NOTHING = "NOTHING"
    CANCELS = "CANCELS"
    COMES_BACK = "COMES_BACK"
    VENUE_REFUSES = "VENUE_REFUSES"


class DeliveryMode(StrEnum):
    """How the answer is sent."""

    WHOLE = "WHOLE"
    SILENT = "SILENT"
    DRIP = "DRIP"
    HALF_BODY = "HALF_BODY"
    ENDLESS = "ENDLESS"
    CLOSE = "CLOSE"
    RESET = "RESET"
    RESET_MID_ANSWER = "RESET_MID_ANSWER"


@dataclass(frozen=True, kw_only=True)
class CancelEffect:
    """An effect with its figures: how many orders stay, and after how long they return."""

    effect: Effect = Effect.CANCELS
    leaves: int = 0
    after_s: float = 0.0

    @property
    def carried_out(self) -> bool:
        return self.effect is not Effect.NOTHING


NOTHING = CancelEffect(effect=Effect.NOTHING)
EVERYTHING = CancelEffect()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer other than the ordinary one; its body is made for the exchange requested."""

    status: int = 200
    body: Callable[[str], bytes] = field(default=lambda _exchange_id: b"")
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the bytes are sent: when, and what breaks."""

    mode: DeliveryMode = DeliveryMode.WHOLE
    delay_s: float = 0.0
    dripped_part: str = "body"
    interval_s: float = 1.0


ORDINARY = Delivery()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that happens to one call. Without a reply, the answer is the ordinary one."""

    name: str = "ok"
    cancel_effect: CancelEffect = EVERYTHING
    reply: Reply | None = None
    delivery: Delivery = ORDINARY
    grouped_by: str = ""
    repeat: bool = False
    tag: str = ""


Builder = Callable[[Parameters, Call], Scenario]


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
