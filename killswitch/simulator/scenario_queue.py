"""Which fault the next call of an exchange meets: sequences, each consumed call by call."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from killswitch.simulator.scenarios import Call, Scenario

EVERY_EXCHANGE = "*"  # the name under which the list of all exchanges is scripted


class Scripts:
    """The sequences of all exchanges, apart for cancelling and listing."""

    def __init__(self) -> None:
        self._sequences: dict[tuple[str, Call], deque[Scenario]] = {}
        self._lock = threading.Lock()

    def put(
        self, exchange_id: str, *, call: Call, plans: Sequence[Scenario], tag: str = ""
    ) -> None:
        """Replace what was scripted there before."""
        with self._lock:
            self._sequences[exchange_id, call] = deque(replace(plan, tag=tag) for plan in plans)

    def next(self, exchange_id: str, *, call: Call) -> Scenario:
        """Consume one; an ordinary call when nothing is left."""
        with self._lock:
            sequence = self._sequences.get((exchange_id, call))
            if not sequence:
                return Scenario()
            return sequence[0] if sequence[0].repeat else sequence.popleft()

    def clear(self) -> None:
        """From now on every call is an ordinary one."""
        with self._lock:
            self._sequences.clear()
