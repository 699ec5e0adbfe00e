"""Reads the lists of held exchanges side by side, so that one that hangs delays no other one.

It knows no database. A thread makes each call, and the caller takes the answers as they come.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue

import structlog
from django.conf import settings

from killswitch.ems.client import get_client
from killswitch.ems.open_orders import OpenOrders, unreadable
from killswitch.holds.episode import MAX_CALL_S
from killswitch.holds.snapshots import HoldSnapshot
from killswitch.runtime.deadlines import Deadline

# With more held exchanges, one list of all is read instead of one for each.
MAX_SINGLE_LISTS = 4
SINGLE_LISTS_FOR_S = 30.0  # after a list of all that could not be used
PAUSE_AFTER_429_S = 4.0
MAX_CALLS = 32  # at a time

log = structlog.get_logger(__name__)

Lists = Mapping[int, tuple[HoldSnapshot, OpenOrders]]
"""The lists that have come, by the number of the Hold."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One list, and the Holds for which it was requested."""

    holds: Sequence[HoldSnapshot]
    orders: OpenOrders
    is_of_all: bool


class ListReader:
    """The calls of one process that are under way, and those that must wait."""

    def __init__(self) -> None:
        self._in_progress: set[int] = set()
        self._answers: Queue[Answer] = Queue()
        self._pauses: dict[int, Deadline] = {}
        self._single_lists = Deadline(0.0)

    @property
    def is_waiting(self) -> bool:
        return bool(self._in_progress)

    def request(self, holds: Sequence[HoldSnapshot]) -> None:
        """Start a call for each exchange whose last one is over, or one for all of many."""
        idle = [
            hold
            for hold in holds
            if hold.id not in self._in_progress
            and (hold.id not in self._pauses or self._pauses[hold.id].has_passed)
        ]
        if len(idle) > MAX_SINGLE_LISTS and self._single_lists.has_passed:
            self._start_call(idle, exchange_id=None)
            return
        for hold in idle[: max(MAX_CALLS - len(self._in_progress), 0)]:
            self._start_call([hold], exchange_id=hold.exchange_id)

    def take(self, *, timeout_s: float) -> Lists:
        """Wait for a list, and return it with those that have come at the same time.

        A list of all exchanges that cannot be used is left out: the next round reads them one by
        one.
        """
        answers = []
        with suppress(Empty):
            answers.append(self._answers.get(block=timeout_s > 0, timeout=timeout_s))
            while True:
                answers.append(self._answers.get_nowait())
        lists: dict[int, tuple[HoldSnapshot, OpenOrders]] = {}
        for answer in answers:
            self._in_progress.difference_update(hold.id for hold in answer.holds)
            is_limited = answer.orders.http_status == 429
            if is_limited:
                pause = Deadline(PAUSE_AFTER_429_S)
                self._pauses |= {hold.id: pause for hold in answer.holds}
            is_usable = answer.orders.readable and not any(
                answer.orders.other_spellings(hold.exchange_id) for hold in answer.holds
            )
            if answer.is_of_all and not is_usable:
                self._single_lists = Deadline(SINGLE_LISTS_FOR_S)
                if not is_limited:
                    continue
            lists |= {hold.id: (hold, answer.orders) for hold in answer.holds}
        return lists

    def _start_call(self, holds: Sequence[HoldSnapshot], *, exchange_id: str | None) -> None:
        timeout_s = min(MAX_CALL_S, float(settings.EMS_TIMEOUT))

        def call() -> None:
            orders: OpenOrders
            try:
                orders = get_client().open_orders(exchange_id, timeout=timeout_s)
            except Exception as error:
                log.exception("hold_list_failed", exchange=exchange_id)
                orders = unreadable(f"the call failed: {type(error).__name__}")
            self._answers.put(Answer(holds=holds, orders=orders, is_of_all=exchange_id is None))

        thread = threading.Thread(target=call, name="hold_list", daemon=True)
        thread.start()  # may raise: then nothing is in progress
        self._in_progress.update(hold.id for hold in holds)
