"""The order books: what is really open on each exchange, and what time does to it."""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from killswitch.simulator.orders import Order, invented_order, placed_history, utc_now
from killswitch.simulator.scenarios import CancelEffect, Effect

_SLICES = 8


class Book:
    """The open orders of one exchange. What is due happens, in order, whenever somebody looks."""

    def __init__(self, exchange_id: str, *, cancel_seconds: tuple[float, float]) -> None:
        self.exchange_id = exchange_id
        self.cancelled_at = float("-inf")
        self._cancel_seconds = cancel_seconds
        self._chance = random.Random(exchange_id)  # noqa: S311 - figures to look at, no secret
        self._orders: dict[str, Order] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = itertools.count()
        self._lock = threading.Lock()

    def place(self, count: int) -> list[str]:
        """Rest so many invented orders; their client order ids."""
        history = placed_history()
        with self._lock:
            placed = [
                invented_order(exchange_id=self.exchange_id, chance=self._chance, history=history)
                for _ in range(count)
            ]
            self._orders.update((order.client_order_id, order) for order in placed)
        return [order.client_order_id for order in placed]

    def add(self, order: Order) -> None:
        """Rest one order that a client sent."""
        with self._lock:
            self._orders[order.client_order_id] = order

    def open_orders(self) -> Sequence[Order]:
        """What is open now."""
        with self._lock:
            self._advance()
            return tuple(self._orders.values())

    def count(self) -> int:
        """How many orders are open now."""
        with self._lock:
            self._advance()
            return len(self._orders)

    def cancel(self, cancelling: CancelEffect) -> None:
        """Begin to cancel: PENDING_CANCEL at once, the rest 50 to 300 ms later."""
        if not cancelling.carried_out:
            return
        with self._lock:
            self._advance()
            self.cancelled_at = time.monotonic()
            ids = list(self._orders)[cancelling.leaves :]
            before = [self._orders[order_id] for order_id in ids]
            self._change(ids, status="PENDING_CANCEL")
            self._schedule(ids, cancelling=cancelling, before=before)

    def trade(self, *, share: float) -> None:
        """Fill a part of one order, as the market does in the demonstration."""
        with self._lock:
            self._advance()
            resting = [order for order in self._orders.values() if order.status != "PENDING_CANCEL"]
            if not resting:
                return
            order = self._chance.choice(resting)
            traded = order.filled_by(order.amount_order * share, at=utc_now())
            self._orders[order.client_order_id] = traded
            if traded.status == "FILLED":
                del self._orders[order.client_order_id]

    def _schedule(
        self, ids: Sequence[str], *, cancelling: CancelEffect, before: Sequence[Order]
    ) -> None:
        # In a few slices, so that a reader sees the book empty itself as a venue's does.
        for piece in (ids[start::_SLICES] for start in range(min(_SLICES, len(ids)))):
            happens: Callable[[], None] = partial(self._remove, piece)
            if cancelling.effect is Effect.VENUE_REFUSES:
                happens = partial(self._return_to_rest, piece)
            self._later(self._chance.uniform(*self._cancel_seconds), happens)
        if cancelling.effect is Effect.COMES_BACK:
            self._later(self._cancel_seconds[1] + cancelling.after, partial(self._restore, before))

    def _later(self, seconds: float, happens: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self._due, (due, next(self._counter), happens))

    def _advance(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def _change(self, ids: Iterable[str], *, status: str) -> None:
        at = utc_now()
        for order_id in ids:
            self._orders[order_id] = self._orders[order_id].became(status, at=at)

    def _remove(self, ids: Iterable[str]) -> None:
        for order_id in ids:
            self._orders.pop(order_id, None)

    def _return_to_rest(self, ids: Iterable[str]) -> None:
        at = utc_now()
        for order in [self._orders[order_id] for order_id in ids if order_id in self._orders]:
            self._orders[order.client_order_id] = order.became(order.resting_status, at=at)

    def _restore(self, orders: Iterable[Order]) -> None:
        at = utc_now()
        for order in orders:
            back = order.became(order.resting_status, at=at)
            self._orders.setdefault(order.client_order_id, back)


class Books:
    """The book of every exchange that has been named so far."""

    def __init__(self, *, cancel_seconds: tuple[float, float]) -> None:
        self._cancel_seconds = cancel_seconds
        self._books: dict[str, Book] = {}
        self._lock = threading.Lock()

    def of(self, exchange_id: str) -> Book:
        """The book of that exchange; made when it is new."""
        with self._lock:
            if exchange_id not in self._books:
                self._books[exchange_id] = Book(exchange_id, cancel_seconds=self._cancel_seconds)
            return self._books[exchange_id]

    def all(self) -> Sequence[Book]:
        """Every book, in the order in which they were first named."""
        with self._lock:
            return tuple(self._books.values())

    def clear(self) -> None:
        """Forget every order."""
        with self._lock:
            self._books.clear()
