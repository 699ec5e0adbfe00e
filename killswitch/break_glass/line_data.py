"""Turns the answers and lists of the EMS into the data of journal lines, and back.

A line that this installation has sealed may still be of another version, which wrote other data.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass.journal_reader import Line
from killswitch.break_glass.press import (
    ATTEMPT,
    END,
    ERRORS,
    PressedExchange,
    UnreadableLine,
    time_of,
)
from killswitch.cancels.conclusion import OpenOrdersAfter
from killswitch.cancels.states import FINAL, Status
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.exchange_ids import check_exchange_id
from killswitch.ems.open_orders import OpenOrder, TimedOpenOrders
from killswitch.runtime.text import error_line

MAX_BODY_BYTES = 64 * 1024
MAX_ORDERS = 1000
MAX_STORED_NUMBER = 2**31 - 1


def attempt_data(request: str, answer: TimedCancelAnswer, *, number: int) -> dict[str, Any]:
    """Return the data of ATTEMPT."""
    body = answer.body[:MAX_BODY_BYTES]
    return {
        "request": request,
        "number": number,
        "started_at": utc_text(answer.started_at),
        "finished_at": utc_text(answer.finished_at),
        "duration_us": round(answer.duration_ms * 1000),
        "http_status": answer.http_status,
        "outcome": str(answer.outcome),
        "retry_advice": str(answer.retry_advice),
        "may_have_been_carried_out": answer.may_have_been_carried_out,
        "reject_reason": answer.reject_reason,
        "message": answer.message,
        "rejected_message": answer.rejected_message,
        "trace_id": answer.trace_id,
        "body": base64.b64encode(body).decode("ascii"),
        "body_complete": answer.body_complete and len(body) == len(answer.body),
        "transport_error": answer.transport_error,
    }


def answer_of(data: Mapping[str, Any]) -> TimedCancelAnswer:
    """Return the answer of an ATTEMPT line."""
    return TimedCancelAnswer(
        outcome=Outcome(data["outcome"]),
        retry_advice=RetryAdvice(data["retry_advice"]),
        http_status=data["http_status"],
        reject_reason=data["reject_reason"],
        message=data["message"],
        rejected_message=data["rejected_message"],
        trace_id=data["trace_id"],
        body=base64.b64decode(data["body"]),
        body_complete=data["body_complete"],
        transport_error=data["transport_error"],
        may_have_been_carried_out=data["may_have_been_carried_out"],
        started_at=time_of(data["started_at"]),
        finished_at=time_of(data["finished_at"]),
        duration_ms=data["duration_us"] / 1000,
    )


def list_data(orders: TimedOpenOrders) -> dict[str, Any]:
    """Return a list of open orders as END has it."""
    return {
        "started_at": utc_text(orders.started_at),
        "finished_at": utc_text(orders.finished_at),
        "http_status": orders.http_status,
        "error": orders.error,
        "may_have_more": orders.may_have_more,
        "orders": [asdict(order) for order in orders.orders[:MAX_ORDERS]],
        "body": base64.b64encode(orders.body).decode("ascii"),
        "size": orders.size,
        "sha256": orders.sha256,
    }


def list_of(data: Mapping[str, Any], *, count: int | None) -> OpenOrdersAfter:
    """Return the list of an END line."""
    answer = TimedOpenOrders(
        readable=count is not None,
        error=data["error"],
        may_have_more=data["may_have_more"],
        http_status=data["http_status"],
        orders=tuple(OpenOrder(**order) for order in data["orders"]),
        started_at=time_of(data["started_at"]),
        finished_at=time_of(data["finished_at"]),
        duration_ms=math.nan,
        body=base64.b64decode(data["body"]),
        size=data["size"],
        sha256=data["sha256"],
    )
    return OpenOrdersAfter(answer=answer, count=count)


def check_request(row: PressedExchange, lines: Sequence[Line]) -> None:
    """Raise `UnreadableLine` if a request of a press, or one of its lines, cannot be recorded."""
    try:
        check_exchange_id(row.exchange_id)
        if row.open_before_seen_at is not None:
            time_of(row.open_before_seen_at)
        if row.open_before is not None and not 0 <= row.open_before <= MAX_STORED_NUMBER:
            raise ValueError("the number of open orders is out of range")
    except ERRORS as error:
        raise UnreadableLine(f"a request of its line: {error_line(error)}") from error
    check_lines(lines)


def check_lines(lines: Sequence[Line]) -> None:
    """Raise `UnreadableLine` for the first of these ATTEMPT and END lines that cannot be read."""
    for line in lines:
        try:
            time_of(line.at)
            if line.kind == ATTEMPT:
                answer_of(line.data)
            elif line.kind == END:
                _check_end(line.data)
        except ERRORS as error:
            raise UnreadableLine(f"line {line.seq}: {error_line(error)}") from error


def _check_end(data: Mapping[str, Any]) -> None:
    if Status(data["status"]) not in FINAL:
        raise ValueError(f"{data['status']} is not the status of an end")
    if not 0 <= data["reads"] <= MAX_STORED_NUMBER or not isinstance(data["conclusion"], str):
        raise ValueError("the number of reads or the conclusion is wrong")
    time_of(data["finished_at"])
    if data["list"]:
        list_of(data["list"], count=data["open_after"])
