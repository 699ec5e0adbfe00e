"""One call to the EMS: its total deadline, and what has happened on the wire so far."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class CallDeadline:
    """Made by the client, and written to by the connection that carries it, in one thread.

    `sent` alone decides between "not delivered" and "unknown": the type of an exception does not
    tell (a silent TLS handshake, for one, surfaces as a read timeout).
    """

    timeout: float
    connect_timeout: float
    idle_limit: float
    on_sent: Callable[[], None] | None = None
    sent: bool = False
    received: bool = False
    reused: bool = False
    broken: bool = False
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds until the total deadline. Raises TimeoutError once it has passed."""
        left = self.started + self.timeout - time.monotonic()
        if left <= 0:
            raise self.is_over()
        return left

    def is_over(self) -> TimeoutError:
        return TimeoutError(f"the call was not finished within {self.timeout:.1f} s")

    def begin_sending(self) -> None:
        """To be called right before the first byte of the request leaves, and harmless later."""
        self.sent = True
        self.notify_sent_or_never()

    def notify_sent_or_never(self) -> None:
        """Tell the caller, once, that the first byte is leaving or that none ever will."""
        on_sent, self.on_sent = self.on_sent, None
        if on_sent is None:
            return
        try:
            on_sent()
        except Exception:
            logger.exception("on_sent failed; the call to the EMS goes on")

    def may_be_repeated_at_once(self) -> bool:
        """A kept-alive connection had been closed under us: no word about the EMS itself."""
        return self.sent and self.reused and self.broken and not self.received


# requests hands nothing of ours down to a connection, so the call travels beside it.
CURRENT: ContextVar[CallDeadline] = ContextVar("ems_call")
