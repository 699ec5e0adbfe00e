"""One resting order as the EMS reports it: a value, replaced by a new one at every change."""

import json
import random
import re
import time
from dataclasses import dataclass, replace
from functools import cached_property

_ACCOUNT_TAG = re.compile(r"[~/.,:;\\!@#$%^&*\-_+=]")
_MARKETS = (
    ("BTC", "USD", 64_250.0, 0.5),
    ("ETH", "USD", 3_120.0, 0.05),
    ("SOL", "USD", 148.0, 0.01),
    ("ADA", "USD", 0.46, 0.0001),
    ("XRP", "USD", 0.52, 0.0001),
)
_PLACED_HISTORY = ("RECEIVED", "ROUTING", "ROUTED", "NEW")
_TICK_NS = 100  # the EMS writes times with seven decimals
_TICKS_PER_SECOND = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order and its history so far; the fields are named as in an execution report."""

    exchange_id: str
    client_order_id: str
    exchange_order_id: str
    symbol_id_exchange: str
    symbol_id_coinapi: str
    side: str
    price: float
    amount_order: float
    time_in_force: str = "GOOD_TILL_CANCEL"
    amount_filled: float = 0.0
    status: str = "NEW"
    status_history: tuple[tuple[str, str], ...] = ()
    fills: tuple[tuple[str, float], ...] = ()

    def with_status(self, status: str, *, at: str) -> "Order":
        """Return the order after the venue changed its status."""
        return replace(self, status=status, status_history=(*self.status_history, (status, at)))

    def with_fill(self, amount: float, *, at: str) -> "Order":
        """Return the order after a trade of at most its open amount."""
        fill = round(min(amount, self.amount_open), 8)
        amount_filled = round(self.amount_filled + fill, 8)
        status = "FILLED" if amount_filled >= self.amount_order else "PARTIALLY_FILLED"
        order = replace(self, amount_filled=amount_filled, fills=(*self.fills, (at, fill)))
        return order.with_status(status, at=at)

    @property
    def amount_open(self) -> float:
        return round(self.amount_order - self.amount_filled, 8)

    @property
    def resting_status(self) -> str:
        """Return the status of the order once the venue has refused to cancel it."""
        return "PARTIALLY_FILLED" if self.amount_filled else "NEW"

    @cached_property
    def report(self) -> str:
        """Return the execution report as JSON; cached, because thousands are listed at a time."""
        return json.dumps(
            vars(self)
            | {
                "order_type": "LIMIT",
                "expire_time": None,
                "exec_inst": [],
                "client_order_id_format_exchange": self.client_order_id,
                "amount_open": self.amount_open,
                "avg_px": self.price if self.amount_filled else 0.0,
                "time_order": self.status_history[0][1] if self.status_history else None,
                "error_message": None,
                "fills": [
                    {"time": at, "price": self.price, "amount": amount} for at, amount in self.fills
                ],
            }
        )


def utc_now(*, ticks_later: int = 0) -> str:
    """Return the time as the EMS writes it: UTC with seven decimals."""
    ticks = time.time_ns() // _TICK_NS + ticks_later
    seconds, fraction = divmod(ticks, _TICKS_PER_SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:07d}Z"


def placed_history() -> tuple[tuple[str, str], ...]:
    """Return the history of an order that has just come to rest at the venue."""
    return tuple(
        (status, utc_now(ticks_later=step - len(_PLACED_HISTORY)))
        for step, status in enumerate(_PLACED_HISTORY)
    )


def random_order(
    *, exchange_id: str, rng: random.Random, history: tuple[tuple[str, str], ...]
) -> Order:
    """Return an order such as a trading algorithm leaves resting slightly off the market."""
    asset, currency, market, tick = rng.choice(_MARKETS)
    side = rng.choice(("BUY", "SELL"))
    offset = market * rng.uniform(0.001, 0.03) * (-1 if side == "BUY" else 1)
    venue = _ACCOUNT_TAG.split(exchange_id)[0] or "VENUE"
    return Order(
        exchange_id=exchange_id,
        client_order_id=f"{venue}-{rng.getrandbits(64):016x}",
        exchange_order_id=str(rng.randrange(10**9, 10**10)),
        symbol_id_exchange=f"{asset}{currency}",
        symbol_id_coinapi=f"{venue}_SPOT_{asset}_{currency}",
        side=side,
        price=round(round((market + offset) / tick) * tick, 4),
        amount_order=round(rng.uniform(10, 20_000) / market, 6) or 0.000001,
        status_history=history,
    )
