"""Reads the answers and lists of the EMS back from lines of the journal."""

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from killswitch.cancels.conclusion import OpenOrdersAfter
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.open_orders import OpenOrder, TimedOpenOrders


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
        started_at=datetime.fromisoformat(data["started_at"]),
        finished_at=datetime.fromisoformat(data["finished_at"]),
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
        started_at=datetime.fromisoformat(data["started_at"]),
        finished_at=datetime.fromisoformat(data["finished_at"]),
        duration_ms=math.nan,
        body=base64.b64decode(data["body"]),
        size=data["size"],
        sha256=data["sha256"],
    )
    return OpenOrdersAfter(answer=answer, count=count)
