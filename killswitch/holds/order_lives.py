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
    Where one cannot be sure, a life is measured too long rather than too short. An order that comes
    back, because lists flap, is the same order and was not gone.
    """

    open_before: int = 0
    oldest_before_at: float | None = None
    seen_before: int = 0
    gone_before: int = 0
    longest_s: float = 0.0
    symbols: list[str] = field(default_factory=list)
    _first_seen: dict[tuple[str, ...], float] = field(default_factory=dict)
    _listed: set[tuple[str, ...]] = field(default_factory=set)
    # Orders beyond those that are kept of a list, which are only counted: in the last list, and
    # seen at any time without having been kept since.
    _more: int = 0
    _seen_more: int = 0

    @property
    def seen(self) -> int:
        return self.seen_before + len(self._first_seen) + self._seen_more

    @property
    def gone(self) -> int:
        listed = len(self._listed) + self._more + self.open_before
        return max(self.seen - listed, self.gone_before) if self.seen else 0

    def observe(
        self, orders: Sequence[OpenOrder], *, count: int, now: float, is_whole: bool = True
    ) -> None:
        """Take in a list; `count` may be more than the orders given.

        Nothing is gone from a list that may not be whole.
        """
        keys = _keys(orders)
        more = max(count - len(keys), 0)
        if self.open_before and is_whole:  # the first list of this process
            carried = keys[: self.open_before]
            since = now if self.oldest_before_at is None else self.oldest_before_at
            self.longest_s = max(self.longest_s, now - since)
            self._first_seen.update(dict.fromkeys(carried, since))
            self.seen_before -= min(self.open_before, len(carried) + more)
            self.open_before = 0
        known = len(self._first_seen)
        for key in keys:
            self._first_seen.setdefault(key, now)
        # An order that is kept now may be one that was only counted before.
        new = len(self._first_seen) - known
        self._seen_more = max(self._seen_more - new, more)
        ended = self._listed - set(keys) if is_whole else set()
        for key in (*keys, *ended):
            self.longest_s = max(self.longest_s, now - self._first_seen[key])
        self._listed = set(keys) | (set() if is_whole else self._listed)
        self._more = more if is_whole else max(more, self._more)
        for symbol in dict.fromkeys(order.symbol for order in orders if order.symbol):
            if symbol not in self.symbols and len(self.symbols) < MAX_SYMBOLS:
                self.symbols.append(symbol)

    def oldest_s(self, *, now: float) -> float | None:
        """Return for how long the oldest order of the last list has been seen; None if empty."""
        return now - min(map(self._first_seen.__getitem__, self._listed)) if self._listed else None


def _keys(orders: Sequence[OpenOrder]) -> list[tuple[str, ...]]:
    """Return a key for each order: its ID, or all its values and a number where it has none.

    An exchange gives its own ID later, so the client's comes first.
    """
    repeats: Counter[tuple[str, ...]] = Counter()
    keys = []
    for order in orders:
        key: tuple[str, ...] = (order.client_order_id or order.exchange_order_id,)
        if not key[0]:
            key = (order.symbol, order.side, order.price, order.amount_order)
        repeats[key] += 1
        keys.append((*key, str(repeats[key])))
    return keys
