"""One lease as data: what a kill knows of its request. Reads no database."""

from dataclasses import dataclass
from datetime import datetime

from killswitch.cancels.states import Status

# An older figure does not show what was open when a request was made.
MAX_FIGURE_AGE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A request that this process carries out. Times are monotonic seconds."""

    id: int
    uuid: str
    exchange_id: str
    origin: str  # of its press
    status: Status
    token: str
    claimed_at: float
    request_ends_at: float
    taken_over: bool
    next_attempt_at: datetime | None  # as the last holder had planned it
    open_before: int | None  # when the request was made; None if the figure was old
    ever_listed: bool  # whether the EMS has ever listed an order of this exchange
    too_old_since: datetime | None = None  # when it was requested, if it must not be sent any more


def fresh_figure(
    open_orders: int | None, *, seen_at: datetime | None, at: datetime | None
) -> int | None:
    """Return the figure if it was read shortly before or after this time, otherwise None."""
    if seen_at is None or at is None or abs((at - seen_at).total_seconds()) > MAX_FIGURE_AGE_S:
        return None
    return open_orders
