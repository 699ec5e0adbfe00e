"""A record of the calls received, against which tests check what the product claims."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from killswitch.simulator.http import Request
from killswitch.simulator.orders import utc_now

_MAX_CALLS_KEPT = 50_000
_MAX_BODY_KEPT_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class ReceivedCall:
    """One call to the EMS. Header names are in lower case; monotonic time is this machine's."""

    seq: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: str
    exchange_id: str | None
    received_at: str
    received_monotonic: float
    fault: str
    carried_out: bool
    tag: str


class Calls:
    """The calls in the order in which they were received; the oldest of very many are dropped."""

    def __init__(self) -> None:
        self._calls: deque[ReceivedCall] = deque(maxlen=_MAX_CALLS_KEPT)
        self._counter = itertools.count(1)
        self._lock = threading.Lock()

    def record(
        self,
        request: Request,
        *,
        exchange_id: str | None,
        fault: str,
        carried_out: bool = False,
        tag: str = "",
    ) -> None:
        """Record one call, before it is answered."""
        with self._lock:
            self._calls.append(
                ReceivedCall(
                    seq=next(self._counter),
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    headers=dict(request.headers),
                    body=request.body[:_MAX_BODY_KEPT_BYTES].decode(errors="backslashreplace"),
                    exchange_id=exchange_id,
                    received_at=utc_now(),
                    received_monotonic=time.monotonic(),
                    fault=fault,
                    carried_out=carried_out,
                    tag=tag,
                )
            )

    def select(self, *, exchange_id: str | None, method: str | None) -> list[ReceivedCall]:
        """Return the calls of one exchange (None: of all) and of one method (None: of all)."""
        with self._lock:
            calls = list(self._calls)
        return [
            call
            for call in calls
            if exchange_id in {None, call.exchange_id} and method in {None, call.method}
        ]

    def count(self) -> int:
        with self._lock:
            return len(self._calls)

    def clear(self) -> None:
        """Remove all calls and count from one again."""
        with self._lock:
            self._calls.clear()
            self._counter = itertools.count(1)
