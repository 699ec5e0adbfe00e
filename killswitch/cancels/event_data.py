"""The data of the events of a request, taken from its rows.

Verification takes it from the rows again and compares it with the event.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from killswitch.audit import canonical_json
from killswitch.cancels.exclusions import sum_exclusions
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder, SecondLook
from killswitch.ems.open_orders import TimedOpenOrders

# What events of earlier versions do not have, and what their rows therefore still contain.
PRESS_DEFAULTS: dict[str, Any] = {
    "hold": False,
    "group": "",
    "retry_of": None,
    "not_included_total": None,
    "journal": "",
}
ORDER_COLUMNS = (
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
    """Return the data of REQUESTED: the press, and what was known of the exchange.

    Only the first request of a press records all of `not_included`; each has its total.
    """
    return {
        "batch": str(batch.uuid),
        "asked_at": utc_text_or_none(batch.asked_at),
        "everywhere": batch.everywhere,
        "reason": batch.reason,
        "reason_altered": batch.reason_altered,
        "origin": batch.origin,
        "address": batch.address,
        "user_agent": batch.user_agent,
        "gesture": batch.gesture,
        "open_before": request.open_before,
        "open_before_seen_at": utc_text_or_none(request.open_before_seen_at),
        "hold": batch.hold,
        "group": batch.group_name,
        "retry_of": _uuid_of_retried(batch),
        "not_included": batch.not_included,
        "not_included_total": (
            None if batch.not_included is None else sum_exclusions(batch.not_included)
        ),
        "journal": batch.journal,
    }


def _uuid_of_retried(batch: Batch) -> str | None:
    if batch.retry_of_id is None:
        return None
    # A forged row may name a batch that does not exist.
    return str(batch.retry_of.uuid) if batch.retry_of else f"number {batch.retry_of_id}"


def of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return the data of ATTEMPT: one call, or the trace of a dead holder."""
    return {
        "number": attempt.number,
        "started_at": utc_text_or_none(attempt.started_at),
        "finished_at": utc_text_or_none(attempt.finished_at),
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
    """Return the data of FINISHED: whose request it was, the outcome, the orders that remain."""
    return {
        "origin": request.batch.origin,
        "requested_by": request.batch.by_name,
        "reason": request.batch.reason,
        "conclusion": request.conclusion,
        "message": request.message,
        "rejected_message": request.rejected_message,
        "reads": request.reads,
        "open_after": request.open_after,
        "open_after_read_at": utc_text_or_none(request.open_after_read_at),
        "remaining": [{name: getattr(order, name) for name in ORDER_COLUMNS} for order in orders],
        "holder": request.lease_token,
        "first_claimed_at": utc_text_or_none(request.first_claimed_at),
        "finished_at": utc_text_or_none(request.finished_at),
    }


def of_look(look: SecondLook) -> dict[str, Any]:
    """Return the data of SECOND_LOOK: what was open some time after the end."""
    return {
        "after_s": look.after_s,
        "read_at": utc_text_or_none(look.read_at),
        "open_orders": look.open_orders,
        "error": look.error,
    }


def of_reopening(request: CancelRequest) -> dict[str, Any]:
    """Return what the alarm REOPENED records of the request: orders were open again."""
    return {
        "reopened_at": utc_text_or_none(request.reopened_at),
        "reopened_orders": request.reopened_orders,
    }


def of_list(orders: TimedOpenOrders) -> dict[str, Any]:
    """Return the start, the size and the hash of the answer that the outcome is based on."""
    return {
        "http_status": orders.http_status,
        "error": orders.error,
        "bytes": orders.size,
        "sha256": orders.sha256,
        "body": canonical_json.encode_bytes(orders.body),
        "body_cut": orders.size > len(orders.body),
    }


def utc_text_or_none(at: datetime | str | None) -> str | None:
    """Return a time in UTC with microseconds, or None for what has not happened.

    Verification reads times as such texts already.
    """
    if isinstance(at, str):
        return at
    return canonical_json.utc_text(at) if at else None
