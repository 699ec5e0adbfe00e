"""Lanes: how many requests of one kind run at once, and a line for those that wait.

Everything but the work itself runs on the event loop, so nothing here needs a lock.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import process_time
from typing import Any, Final, TypeVar

from killswitch.gate.client import Client, ClientGone
from killswitch.gate.routes import LaneName

Result = TypeVar("Result")

SLOW_AFTER_S: Final = 0.1
# Of one processor; a process that uses less has room for another request.
IDLE_SHARE: Final = 0.3


class LaneFull(Exception):
    """The line is full, or the request has waited in it for too long."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a lane.

    So many requests are served `at_once`. One that takes longer than `slow_after_s` while the
    process is idle waits for something, such as a database that hangs, and lets the next one start,
    as long as there are `threads`. Without `max_waiting`, no request is ever refused.
    """

    threads: int
    at_once: int
    max_waiting: int | None = None
    max_wait_s: float | None = None
    slow_after_s: float | None = SLOW_AFTER_S


class Lane:
    """The threads of one kind of request, and its line."""

    def __init__(self, name: LaneName, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix=name)
        self._line: deque[asyncio.Future[Place]] = deque()
        self._free_places = limits.at_once
        self._served = 0

    async def enter(self, client: Client) -> "Place":
        """Wait for a place and return it. Raises `LaneFull` or `ClientGone`."""
        if self._free_places:
            self._free_places -= 1
            return self._new_place()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        if self._limits.max_waiting is None:
            self._line.append(turn)
            return await turn
        if len(self._line) >= self._limits.max_waiting:
            raise LaneFull
        self._line.append(turn)
        either: set[asyncio.Future[Any]] = {turn, client.gone}
        timeout_s = self._limits.max_wait_s
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if turn.done():
            return turn.result()
        self._line.remove(turn)
        raise ClientGone if client.gone.done() else LaneFull

    async def run(self, work: Callable[[], Result], place: "Place") -> Result:
        """Do the work of the holder of a place in a thread, and return its result."""
        self._watch(place)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            if place.timer:
                place.timer.cancel()

    def leave(self, place: "Place") -> None:
        """End the stay of a request; further calls do nothing."""
        self._give_up(place)
        self._served -= place.is_served
        place.is_served = False

    def _new_place(self) -> "Place":
        self._served += 1
        return Place()

    def _give_up(self, place: "Place") -> None:
        """Give the place to the first in the line, unless that was done before."""
        if not place.is_held:
            return
        place.is_held = False
        if self._line:
            self._line.popleft().set_result(self._new_place())
        else:
            self._free_places += 1

    def _watch(self, place: "Place") -> None:
        if slow_after_s := self._limits.slow_after_s:
            loop = asyncio.get_running_loop()
            place.timer = loop.call_later(slow_after_s, self._check, place, process_time())

    def _check(self, place: "Place", used_s: float) -> None:
        """Give up the place of a request that only waits; a busy process has no room for more."""
        share = (process_time() - used_s) / (self._limits.slow_after_s or SLOW_AFTER_S)
        if share < IDLE_SHARE and self._served + self._free_places < self._limits.threads:
            self._give_up(place)
        else:
            self._watch(place)


@dataclass(eq=False)
class Place:
    """The stay of one request in a lane; one that is slow is served without holding a place."""

    is_held: bool = True
    is_served: bool = True
    timer: asyncio.TimerHandle | None = None
