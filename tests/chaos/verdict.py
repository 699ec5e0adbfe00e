"""Judges a run by the EMS's own record, the database and the log."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.hosts import Installation
from tests.chaos.presses import RECORDED, UNKNOWN, Press

FINAL = {"CONFIRMED", "RESIDUAL", "REJECTED", "UNVERIFIED", "UNKNOWN", "NOT_DELIVERED"}
REQUESTS = """
SELECT b.uuid::text, r.uuid::text, r.exchange_id, r.status,
       extract(epoch FROM r.finished_at)::float,
       r.status = 'REJECTED' AND starts_with(r.conclusion, 'Refused by the EMS. No open orders.'),
       (SELECT count(*) FROM cancels_attempt a WHERE a.request_id = r.id),
       EXISTS (SELECT 1 FROM alarms_alarm WHERE kind = 'OUTCOME' AND request_id = r.uuid::text)
FROM cancels_cancelrequest r JOIN cancels_batch b ON b.id = r.batch_id
"""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as the database has it, and how often the EMS received it."""

    batch: str
    uuid: str
    exchange_id: str
    status: str
    is_calm: bool  # refused, and nothing was open: this raises no alarm
    finished_at: float  # seconds since 1970; by the clock of this machine, as all times here
    attempts: int
    has_alarm: bool
    received: int

    @property
    def says_nothing_is_open(self) -> bool:
        return self.status == "CONFIRMED" or self.is_calm


def requests_of(system: Installation) -> list[Request]:
    """Read all requests; each call of the EMS names the one that it belongs to."""
    rows = system.select(REQUESTS)
    received = Counter(call.headers.get("x-request-id", "") for call in system.ems.calls())
    return [
        Request(
            batch=batch,
            uuid=uuid,
            exchange_id=exchange_id,
            status=status,
            is_calm=is_calm,
            finished_at=finished_at or math.inf,
            attempts=attempts,
            has_alarm=has_alarm,
            received=received[uuid],
        )
        for batch, uuid, exchange_id, status, finished_at, is_calm, attempts, has_alarm in rows
    ]


def faults(
    system: Installation, presses: Sequence[Press], requests: Sequence[Request]
) -> dict[str, list[Any]]:
    """Return what must not happen, by name, each with what it happened to."""
    by_batch: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        by_batch[request.batch].append(request)
    known = {press.batch for press in presses}
    unasked = [batch for batch in by_batch if batch not in known]
    not_known = sum(press.answer == UNKNOWN for press in presses)
    calls = system.ems.calls()
    ids = {request.uuid for request in requests}
    return {
        "lost": [
            press.batch
            for press in presses
            if press.answer == RECORDED and len(by_batch[press.batch]) != len(press.orders)
        ],
        "recorded, and the page said that it was not": unasked[not_known:],
        "in flight at the end": [r.uuid for r in requests if r.status not in FINAL],
        "sent without a request": [
            call.headers.get("x-request-id")
            for call in calls
            if call.headers.get("x-request-id") not in ids
        ],
        "sent more often than recorded": [r.uuid for r in requests if r.received > r.attempts],
        "NOT_DELIVERED, but the EMS received it": [
            r.uuid for r in requests if r.status == "NOT_DELIVERED" and r.received
        ],
        "CONFIRMED, but never received": [
            r.uuid for r in requests if r.status == "CONFIRMED" and not r.received
        ],
        "said that nothing is open, but an order from before the cancel was": [
            r.uuid for press in presses for r in _untrue(system, press, by_batch[press.batch])
        ],
        "not confirmed, and without an alarm": [
            r.uuid for r in requests if not (r.says_nothing_is_open or r.has_alarm)
        ],
    }


def _untrue(system: Installation, press: Press, requests: Sequence[Request]) -> list[Request]:
    since_1970 = time.time() - time.monotonic()
    untrue = []
    for request in requests:
        ids = press.orders[request.exchange_id]
        ends = [
            math.inf if life.ended_monotonic is None else life.ended_monotonic + since_1970
            for life in system.ems.lives(request.exchange_id)
            if life.client_order_id in ids
        ]
        if request.says_nothing_is_open and max(ends, default=0.0) > request.finished_at:
            untrue.append(request)
    return untrue
