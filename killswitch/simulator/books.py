"""The order books: the orders really open on each exchange, which change as time passes."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

from killswitch.simulator.lives import Life
from killswitch.simulator.orders import Order, placed_history, random_order, utc_now
from killswitch.simulator.scenarios import CancelEffect

_SLICES = 8
_MAX_LIVES_KEPT = 20_000  # of each exchange; the oldest of very many are dropped


class Book:
    """The open orders of one exchange. Changes that are due are made whenever it is read."""

    def __init__(self, exchange_id: str, *, cancel_seconds: tuple[float, float]) -> None:
        self.exchange_id = exchange_id
        self.cancelled_at = float("-inf")
        self._cancel_seconds = cancel_seconds
        self._rng = random.Random(exchange_id)  # noqa: S311 - sample figures, not a secret
        self._orders: dict[str, Order] = {}
        self._due: list[tuple[float, Callable[[float], None]]] = []
        self._lives: deque[Life] = deque(maxlen=_MAX_LIVES_KEPT)
        self._open_lives: dict[str, Life] = {}
        self._lock = threading.Lock()

    def place(self, count: int) -> list[str]:
        """Place this many random orders and return their client order ids."""
        history = placed_history()
        with self._lock:
            orders = [
                random_order(exchange_id=self.exchange_id, rng=self._rng, history=history)
                for _ in range(count)
            ]
            for order in orders:
                self._begin(order, at=time.monotonic())
        return [order.client_order_id for order in orders]

    def add(self, order: Order) -> None:
        """Add one order that a client sent."""
        with self._lock:
            self._begin(order, at=time.monotonic())

    def open_orders(self) -> Sequence[Order]:
        """Return the orders that are open now."""
        with self._lock:
            self._advance()
            return tuple(self._orders.values())

    def listed_orders(self, *, sent_in_s: float) -> Sequence[Order]:
        """Return the open orders for a list that is sent after this many seconds."""
        with self._lock:
            self._advance()
            at = time.monotonic() + sent_in_s
            for life in self._open_lives.values():
                if life.first_listed_monotonic is None or life.first_listed_monotonic > at:
                    life.first_listed_monotonic = at
            return tuple(self._orders.values())

    def lives(self) -> list[Life]:
        """Return what happened to each order, oldest first."""
        with self._lock:
            self._advance()
            return [replace(life) for life in self._lives]

    def count(self) -> int:
        """Return how many orders are open now."""
        return len(self.open_orders())

    def cancel(self, effect: CancelEffect) -> None:
        """Make the orders PENDING_CANCEL at once; the rest happens within `cancel_seconds`."""
        if not effect.carried_out:
            return
        with self._lock:
            self._advance()
            self.cancelled_at = now = time.monotonic()
            ids = list(self._orders)[effect.leaves :]
            orders = [self._orders[order_id] for order_id in ids]
            at = utc_now()
            for order in orders:
                self._orders[order.client_order_id] = order.with_status("PENDING_CANCEL", at=at)
            change = self._return_to_rest if effect.venue_refuses else self._remove
            # In slices, so that readers see the book become empty gradually, as a venue's does.
            for start in range(min(_SLICES, len(ids))):
                delay_s = self._rng.uniform(*self._cancel_seconds)
                self._due.append((now + delay_s, partial(change, ids[start::_SLICES])))
            if effect.comes_back_after_s is not None:
                delay_s = self._cancel_seconds[1] + effect.comes_back_after_s
                self._due.append((now + delay_s, partial(self._restore, orders)))

    def trade(self, *, share: float) -> None:
        """Fill part of one order, as the market does in the demonstration."""
        with self._lock:
            self._advance()
            orders = [order for order in self._orders.values() if order.status != "PENDING_CANCEL"]
            if not orders:
                return
            order = self._rng.choice(orders)
            order = order.with_fill(order.amount_order * share, at=utc_now())
            self._orders[order.client_order_id] = order
            if order.status == "FILLED":
                self._remove([order.client_order_id], time.monotonic())

    def _advance(self) -> None:
        now = time.monotonic()
        self._due.sort(key=itemgetter(0))
        while self._due and self._due[0][0] <= now:
            due_at, change = self._due.pop(0)
            change(due_at)

    def _begin(self, order: Order, *, at: float) -> None:
        self._orders[order.client_order_id] = order
        life = Life(
            exchange_id=self.exchange_id,
            client_order_id=order.client_order_id,
            placed_at=utc_now(),
            placed_monotonic=at,
        )
        if replaced := self._open_lives.get(order.client_order_id):
            replaced.ended_monotonic = at
        self._open_lives[order.client_order_id] = life
        self._lives.append(life)

    def _remove(self, ids: Iterable[str], at: float) -> None:
        for order_id in ids:
            if self._orders.pop(order_id, None):
                self._open_lives.pop(order_id).ended_monotonic = at

    def _return_to_rest(self, ids: Iterable[str], _at: float) -> None:
        at = utc_now()
        for order in [self._orders[order_id] for order_id in ids if order_id in self._orders]:
            self._orders[order.client_order_id] = order.with_status(order.resting_status, at=at)

    def _restore(self, orders: Iterable[Order], at: float) -> None:
        for order in orders:
            if order.client_order_id not in self._orders:
                self._begin(order.with_status(order.resting_status, at=utc_now()), at=at)


class Books(dict[str, Book]):
    """The book of every exchange that was used so far, in order of first use."""

    def __init__(self, *, cancel_seconds: tuple[float, float]) -> None:
        super().__init__()
        self._cancel_seconds = cancel_seconds

    def __missing__(self, exchange_id: str) -> Book:
        # Two threads at once get the same book.
        return self.setdefault(exchange_id, Book(exchange_id, cancel_seconds=self._cancel_seconds))
