"""Follows the orders of an episode from list to list: how many, of what, and how long they lived.

Reads no clock and no database. Times are monotonic seconds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from killswitch.ems.open_orders import OpenOrder

MAX_SYMBOLS = 50


@dataclass
class OrderLives:
    """The orders of one episode, as one process has seen them.

    A process that carries an episode on knows how many orders were open before, and since when,
    but not which: as many of those that it finds are taken for the same ones, and for as old.
    Where one cannot be sure, a life is measured too long rather than too short.
    """

    open_before: int = 0
    oldest_before_at: float | None = None
    seen: int = 0
    gone: int = 0
    longest_s: float = 0.0
    symbols: list[str] = field(default_factory=list)
    _first_seen: dict[tuple[str, ...], float] = field(default_factory=dict)
    # Orders beyond those that a list is kept of, which are only counted.
    _uncounted: int = 0

    def observe(self, orders: Sequence[OpenOrder], *, count: int, now: float) -> None:
        """Compare a list with the one before; `count` may be more than the orders given."""
        keys = _keys(orders)
        first_seen = {key: self._first_seen.get(key, now) for key in keys}
        new = len(first_seen.keys() - self._first_seen.keys())
        gone = self._first_seen.keys() - first_seen.keys()
        uncounted = max(count - len(keys), 0)
        new += max(uncounted - self._uncounted, 0)
        gone_count = len(gone) + max(self._uncounted - uncounted, 0)
        if self.open_before:  # the first list of this process
            carried = min(self.open_before, new)
            gone_count += self.open_before - carried
            new -= carried
            since = now if self.oldest_before_at is None else self.oldest_before_at
            self.longest_s = max(self.longest_s, now - since)
            for key in list(first_seen)[:carried]:
                first_seen[key] = since
            self.open_before = 0
        ended = [self._first_seen[key] for key in gone]
        for since in (*ended, *first_seen.values()):
            self.longest_s = max(self.longest_s, now - since)
        self.seen += new
        self.gone += gone_count
        self._first_seen, self._uncounted = first_seen, uncounted
        for symbol in dict.fromkeys(order.symbol for order in orders if order.symbol):
            if symbol not in self.symbols and len(self.symbols) < MAX_SYMBOLS:
                self.symbols.append(symbol)

    def oldest_s(self, *, now: float) -> float | None:
        """Return for how long the oldest order of the last list has been seen; None if empty."""
        return now - min(self._first_seen.values()) if self._first_seen else None


def _keys(orders: Sequence[OpenOrder]) -> list[tuple[str, ...]]:
    """Return a key for each order: its ids, or all its values and a number where it has none."""
    repeats: Counter[tuple[str, ...]] = Counter()
    keys = []
    for order in orders:
        key: tuple[str, ...] = (order.symbol, order.client_order_id, order.exchange_order_id)
        if not any(key[1:]):
            key = (order.symbol, order.side, order.price, order.amount_order)
        repeats[key] += 1
        keys.append((*key, str(repeats[key])))
    return keys
