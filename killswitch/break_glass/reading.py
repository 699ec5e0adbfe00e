"""Reads presses, and the answers and lists of the EMS, back from lines of the journal.

A line that this installation has sealed may still be of another version, which wrote other data.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from killswitch.break_glass.journal import Line
from killswitch.break_glass.press import ATTEMPT, END, Press, PressedExchange
from killswitch.cancels.conclusion import OpenOrdersAfter
from killswitch.cancels.states import FINAL, Status
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.exchange_ids import check_exchange_id
from killswitch.ems.open_orders import OpenOrder, TimedOpenOrders
from killswitch.runtime.text import error_line

MAX_STORED_NUMBER = 2**31 - 1
# What parsing and converting the data of another version may raise.
ERRORS = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


class UnreadableLine(ValueError):
    """This software cannot read the data of a line; the message says why."""


def press_of(line: Line) -> Press:
    """Return the press of a PRESS line. Raises `UnreadableLine`."""
    try:
        press = Press.from_data(line.data)
        UUID(press.press)
        time_of(press.asked_at)
        time_of(line.at)
        if not (press.requests and math.isfinite(press.deadline_ms) and "\0" not in press.holder):
            raise ValueError("it names no request, or a wrong deadline or holder")
        for row in press.requests:
            UUID(row.request)
    except ERRORS as error:
        raise UnreadableLine(f"line {line.seq}: {error_line(error)}") from error
    return press


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


def time_of(text: str) -> datetime:
    """Return a time of the journal. Raises ValueError and TypeError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at


def _check_end(data: Mapping[str, Any]) -> None:
    if Status(data["status"]) not in FINAL:
        raise ValueError(f"{data['status']} is not the status of an end")
    if not 0 <= data["reads"] <= MAX_STORED_NUMBER or not isinstance(data["conclusion"], str):
        raise ValueError("the number of reads or the conclusion is wrong")
    time_of(data["finished_at"])
    if data["list"]:
        list_of(data["list"], count=data["open_after"])


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
