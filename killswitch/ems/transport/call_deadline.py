"""The total deadline of one call to the EMS, and what has happened on the wire so far."""

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentAhead:
    """The connection over which a request was sent ahead, and what it met: None for no failure."""

    connection: Any
    failure: OSError | None


@dataclass(kw_only=True)
class CallDeadline:
    """The deadline and the progress of one call, in one thread.

    The client makes it, the connection that carries the call updates it. `sent` alone decides
    between "not delivered" and "unknown": the type of an exception proves neither (a silent TLS
    handshake, for one, surfaces as a read timeout).

    `rejected` is True if the EMS rejected our certificate before it could read the request.
    `before_reading` is called when the request has been sent, before its answer is read.
    With `needs_new_connection` no open connection is used, nor closed before the new one works.
    `ahead` is set while the request has been sent, and its answer is still to be read.
    """

    timeout_s: float
    connect_timeout_s: float
    max_idle_s: float
    needs_new_connection: bool = False
    on_sent: Callable[[], None] | None = None
    before_reading: Callable[[], None] = lambda: None
    sending: bool = False
    rejected: bool = False
    received: bool = False
    reused: bool = False
    broken: bool = False
    ahead: "SentAhead | None" = None
    started_at: float = field(default_factory=time.monotonic)

    @property
    def sent(self) -> bool:
        """Return True if the EMS may have received the request, or a part of it."""
        return self.sending and not self.rejected

    @property
    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.started_at) * 1000

    def seconds_left(self) -> float:
        """Return the seconds until the deadline. Raises TimeoutError once it has passed."""
        seconds = self.started_at + self.timeout_s - time.monotonic()
        if seconds <= 0:
            raise self.timeout_error()
        return seconds

    def timeout_error(self) -> TimeoutError:
        """Return the error of a call whose time is over; officers read its message."""
        return TimeoutError(f"the call did not finish within {self.timeout_s:.1f} s")

    def begin_sending(self) -> None:
        """Record that the first byte is about to leave; later calls change nothing more."""
        self.sending = True
        self.notify_sent_or_never()

    def notify_sent_or_never(self) -> None:
        """Notify the caller, once, that the first byte is leaving or that none ever will."""
        on_sent, self.on_sent = self.on_sent, None
        if on_sent is None:
            return
        try:
            on_sent()
        except Exception:
            logger.exception("on_sent failed; the call to the EMS goes on")

    def may_be_repeated_at_once(self) -> bool:
        """Return True if a kept-alive connection had been closed before we used it again.

        That proves only that the EMS had closed an idle connection.
        """
        return self.sent and self.reused and self.broken and not self.received


# requests passes no object of ours down to a connection, so the call travels in a context variable.
CURRENT: ContextVar[CallDeadline] = ContextVar("ems_call")
