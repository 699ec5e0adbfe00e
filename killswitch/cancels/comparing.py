"""What the rows of one request must say, given its events. Pure: it reads nothing by itself."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from killswitch.audit import canonical
from killswitch.audit.agreement import Disagreement
from killswitch.audit.models import AuditEvent, Kind
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.states import FINAL, Status

LONGEST_VALUE = 60  # characters of a value that are shown
ORDER = (
    "symbol",
    "side",
    "price",
    "amount_order",
    "amount_open",
    "amount_filled",
    "status",
    "client_order_id",
    "exchange_order_id",
)


@dataclass(kw_only=True)
class Case:
    """Everything that the tables and the log hold of one request."""

    request_id: str
    request: CancelRequest | None
    attempts: list[Attempt] = field(default_factory=list)
    orders: list[ResidualOrder] = field(default_factory=list)
    events: list[AuditEvent] = field(default_factory=list)

    def of(self, kind: Kind) -> list[AuditEvent]:
        return [event for event in self.events if event.kind == kind]


def compare(case: Case) -> Disagreement | None:
    """The first thing on which tables and log do not agree."""
    name = f"request {case.request_id}"
    if case.request is None:
        seq = case.events[0].seq if case.events else None
        return Disagreement(seq=seq, reason=f"{name} was deleted: only the log knows it")
    asked = case.of(Kind.REQUESTED)
    if len(asked) != 1:
        which = asked[1].seq if asked else None
        reason = f"{name} stands in the table, and {len(asked)} events say that it was asked for"
        return Disagreement(seq=which, reason=reason)
    return next(_differences(case, case.request, asked[0]), None)


def _differences(case: Case, request: CancelRequest, asked: AuditEvent) -> Iterator[Disagreement]:
    name = f"request {case.request_id} ({request.exchange_id})"
    yield from _differs(name, asked, found=_press(request, request.batch) | _who(request, asked))
    yield from _completion(name, case, request.batch)
    yield from _attempts(name, case, request)
    finished = case.of(Kind.FINISHED)
    if len(finished) > 1:
        yield Disagreement(seq=finished[1].seq, reason=f"{name} finished twice")
    elif finished:
        event = finished[0]
        yield from _differs(name, event, found=_ending(request, case.orders))
        yield from _columns(name, event, request)
    else:
        yield from _in_flight(name, case, request)


def _press(request: CancelRequest, batch: Batch) -> dict[str, Any]:
    return {
        "batch": str(batch.uuid),
        "asked_at": _instant(batch.asked_at),
        "everywhere": batch.everywhere,
        "reason": batch.reason,
        "reason_altered": batch.reason_altered,
        "origin": batch.origin,
        "address": batch.address,
        "user_agent": batch.user_agent,
        "gesture": batch.gesture,
        "open_before": request.open_before,
        "open_before_seen_at": _instant(request.open_before_seen_at),
    }


def _who(request: CancelRequest, asked: AuditEvent) -> dict[str, Any]:
    return {
        "by": (request.batch.by_name, asked.actor),
        "role": (request.batch.by_role, asked.role),
        "exchange": (request.exchange_id, asked.exchange_id),
    }
