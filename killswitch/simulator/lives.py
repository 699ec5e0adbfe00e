"""How long orders were open: since they were placed, and since a list first showed them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(kw_only=True)
class Life:
    """One order from its placing to its end; an order that comes back begins another life.

    Monotonic times are this machine's. `first_listed_monotonic` is when the first list that shows
    the order was sent in full, None until then; `ended_monotonic` is None while the order is open.
    """

    exchange_id: str
    client_order_id: str
    placed_at: str
    placed_monotonic: float
    first_listed_monotonic: float | None = None
    ended_monotonic: float | None = None

    def listed_s(self, *, now: float) -> float:
        """Return for how many seconds it was open after it was first listed."""
        if self.first_listed_monotonic is None:
            return 0.0
        end = now if self.ended_monotonic is None else self.ended_monotonic
        return max(0.0, end - self.first_listed_monotonic)


def longest(lives: Iterable[Life], *, now: float) -> Life | None:
    """Return the order that was open for the longest time after it was first listed."""
    listed = (life for life in lives if life.first_listed_monotonic is not None)
    return max(listed, key=lambda life: life.listed_s(now=now), default=None)
