"""What the log is told of a press, of a call and of an end, taken from their rows.

Verification takes the same from the rows again: what is written here is compared there.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from killswitch.audit import canonical_json
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.ems.open_orders import OpenOrders

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


def of_press(request: CancelRequest, batch: Batch) -> dict[str, Any]:
    """What was asked for, as the event of each of its requests says it."""
    return {
        "batch": str(batch.uuid),
        "asked_at": instant(batch.asked_at),
        "everywhere": batch.everywhere,
        "reason": batch.reason,
        "reason_altered": batch.reason_altered,
        "origin": batch.origin,
        "address": batch.address,
        "user_agent": batch.user_agent,
        "gesture": batch.gesture,
        "open_before": request.open_before,
        "open_before_seen_at": instant(request.open_before_seen_at),
    }


def of_attempt(attempt: Attempt) -> dict[str, Any]:
    """One call, or the trace of a dead holder."""
    return {
        "number": attempt.number,
        "started_at": instant(attempt.started_at),
        "finished_at": instant(attempt.finished_at),
        "duration_us": attempt.duration_us,
        "http_status": attempt.http_status,
        "outcome": str(attempt.outcome),
        "may_have_been_carried_out": attempt.may_have_been_carried_out,
        "reject_reason": attempt.reject_reason,
        "message": attempt.message,
        "rejected_message": attempt.rejected_message,
        "trace_id": attempt.trace_id,
        "body": canonical_json.encode_bytes(bytes(attempt.body or b"")),
        "body_cut": attempt.body_cut,
        "transport_error": attempt.transport_error,
        "holder": attempt.holder,
        "by_dead_holder": attempt.by_dead_holder,
    }


def of_end(request: CancelRequest, orders: Iterable[ResidualOrder]) -> dict[str, Any]:
    """How it ended, and what remained."""
    return {
        "conclusion": request.conclusion,
        "message": request.message,
        "rejected_message": request.rejected_message,
        "reads": request.reads,
        "open_after": request.open_after,
        "open_after_read_at": instant(request.open_after_read_at),
        "remaining": [{name: getattr(order, name) for name in ORDER} for order in orders],
        "holder": request.lease_token,
        "first_claimed_at": instant(request.first_claimed_at),
        "finished_at": instant(request.finished_at),
    }


def of_list(orders: OpenOrders) -> dict[str, Any]:
    """The answer that the end was concluded from: how it begins, and what tells it from others."""
    return {
        "http_status": orders.http_status,
        "error": orders.error,
        "bytes": orders.size,
        "sha256": orders.sha256,
        "body": canonical_json.encode_bytes(orders.body),
        "body_cut": orders.size > len(orders.body),
    }


def instant(at: datetime | None) -> str | None:
    """UTC with microseconds, or nothing for what has not happened."""
    return canonical_json.utc_text(at) if at else None
