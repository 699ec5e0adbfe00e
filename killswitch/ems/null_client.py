"""Stands in for a client that cannot be made: nothing is delivered, nothing can be read."""

from collections.abc import Callable
from datetime import UTC, datetime

from killswitch.ems.answers import TimedCancelAnswer, not_delivered
from killswitch.ems.open_orders import OpenOrders, unreadable


class NullEmsClient:
    """Answers every call at once with the reason why there is no client. It never raises."""

    def __init__(self, error: Exception) -> None:
        self._error = f"no client for the EMS could be made: {error}"

    def cancel_all(
        self,
        exchange_id: str,  # noqa: ARG002
        *,
        timeout: float | None = None,  # noqa: ARG002
        on_sent: Callable[[], None] | None = None,
    ) -> TimedCancelAnswer:
        if on_sent:
            on_sent()
        now = datetime.now(UTC)
        meaning = not_delivered(self._error)
        return TimedCancelAnswer(**vars(meaning), started_at=now, finished_at=now, duration_ms=0.0)

    def open_orders(
        self,
        exchange_id: str | None = None,  # noqa: ARG002
        *,
        timeout: float | None = None,  # noqa: ARG002
    ) -> OpenOrders:
        now = datetime.now(UTC)
        reading = unreadable(self._error)
        return OpenOrders(**vars(reading), started_at=now, finished_at=now, duration_ms=0.0)
