"""What one call will meet, as values: what becomes of the orders, what is answered, and how."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from killswitch.simulator.parameters import Parameters


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
    """How the answer travels."""

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
    """An effect with its figures: how many orders stay, after how many seconds they return."""

    effect: Effect = Effect.CANCELS
    leaves: int = 0
    after: float = 0.0

    @property
    def carried_out(self) -> bool:
        return self.effect is not Effect.NOTHING


NOTHING = CancelEffect(effect=Effect.NOTHING)
EVERYTHING = CancelEffect()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer other than the ordinary one; its body is made for the exchange asked for."""

    status: int = 200
    body: Callable[[str], bytes] = field(default=lambda _exchange_id: b"")
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the bytes leave: when, and what breaks. Times are seconds."""

    manner: DeliveryMode = DeliveryMode.WHOLE
    delay: float = 0.0
    dripped_part: str = "body"
    interval: float = 1.0


ORDINARY = Delivery()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Everything that happens to one call. No reply means the ordinary answer."""

    name: str = "ok"
    cancelling: CancelEffect = EVERYTHING
    reply: Reply | None = None
    delivery: Delivery = ORDINARY
    grouped_by: str = ""
    repeat: bool = False
    tag: str = ""


Builder = Callable[[Parameters, Call], Scenario]
