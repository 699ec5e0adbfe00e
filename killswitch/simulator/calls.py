"""The record of what was received: the tests' witness against what the product claims."""

import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from killswitch.simulator.http import Request
from killswitch.simulator.orders import utc_now

_KEPT = 50_000
_KEPT_BODY = 64 * 1024


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
        self._calls: deque[ReceivedCall] = deque(maxlen=_KEPT)
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
        """Keep one call, before it is answered."""
        with self._lock:
            self._calls.append(
                ReceivedCall(
                    seq=next(self._counter),
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    headers=dict(request.headers),
                    body=request.body[:_KEPT_BODY].decode(errors="backslashreplace"),
                    exchange_id=exchange_id,
                    received_at=utc_now(),
                    received_monotonic=time.monotonic(),
                    fault=fault,
                    carried_out=carried_out,
                    tag=tag,
                )
            )

    def select(self, *, exchange_id: str | None, method: str | None) -> list[ReceivedCall]:
        """Those of one exchange, or all; of one method, or all."""
        with self._lock:
            kept = list(self._calls)
        return [
            call
            for call in kept
            if exchange_id in {None, call.exchange_id} and method in {None, call.method}
        ]

    def count(self) -> int:
        with self._lock:
            return len(self._calls)

    def clear(self) -> None:
        """Forget them and count from one again."""
        with self._lock:
            self._calls.clear()
            self._counter = itertools.count(1)
