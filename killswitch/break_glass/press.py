"""One break-glass press and what is known of its requests, in memory and as lines of the journal.

A press becomes these lines, in this order for each request:

| kind    | when                                  | data                                |
|---------|---------------------------------------|-------------------------------------|
| PRESS   | before the first POST of all requests | the press and its requests          |
| ATTEMPT | after each answer                     | the answer                          |
| SENDING | before each further POST of a request | the number of the attempt           |
| END     | when all that can be known is known   | the outcome, and the list behind it |

A request of the log whose database went away has a line CARRIED_ON instead of PRESS, and a line
SENDING before each POST. All its lines have the token of its lease.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from killswitch.audit.canonical_json import utc_text
from killswitch.cancels.states import FINAL, Status
from killswitch.ems.answers import TimedCancelAnswer
from killswitch.ems.open_orders import TimedOpenOrders

PRESS, SENDING, ATTEMPT, END = "PRESS", "SENDING", "ATTEMPT", "END"
CARRIED_ON = "CARRIED_ON"  # a request of the log, whose database went away; its lines follow
MAX_BODY_BYTES = 64 * 1024
MAX_ORDERS = 1000


@dataclass(frozen=True, kw_only=True)
class PressedExchange:
    """One request of a press. Times are UTC texts."""

    request: str  # its UUID
    exchange_id: str
    ever_listed: bool = False
    open_before: int | None = None
    open_before_seen_at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Press:
    """Who cancels what and why, as it is in the journal."""

    press: str  # its UUID
    nonce: str  # of its one-use key
    user_id: int | None  # None on the command line
    by_name: str
    by_role: str
    asked_at: str
    reason: str
    reason_altered: bool
    origin: str
    address: str = ""
    user_agent: str = ""
    gesture: str = ""
    everywhere: bool = False
    deadline_ms: int  # how long each request may take
    holder: str = ""  # the process that carries it out, by `holders`
    requests: Sequence[PressedExchange]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the press of a PRESS line. Raises TypeError and KeyError for any other data."""
        requests = tuple(PressedExchange(**request) for request in data["requests"])
        return cls(**{**data, "requests": requests})

    @property
    def data(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(kw_only=True)
class RequestState:
    """What is known of one request. One thread writes it, any may read it."""

    request: str
    exchange_id: str
    status: Status = Status.REQUESTED
    sentence: str = ""
    attempts: int = 0
    reads: int = 0
    reject_reason: str = ""
    message: str = ""
    open_after: int | None = None
    # Why lines about it are missing in the journal; "" if all of them are there.
    not_journaled: str = field(default="")

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def apply(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take over what a line says."""
        match kind:
            case "SENDING" if self.status is Status.REQUESTED:
                self.status = Status.SENDING
            case "ATTEMPT":
                self.attempts += 1
                if data["outcome"] == "ACKNOWLEDGED":  # the list decides from here on
                    self.status = Status.VERIFYING
                if data["reject_reason"] or data["message"] or data["outcome"] == "ACKNOWLEDGED":
                    self.reject_reason, self.message = data["reject_reason"], data["message"]
            case "END":
                self.sentence = data["conclusion"]
                self.open_after = data["open_after"]
                self.status = Status(data["status"])  # last: readers take the rest for final


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


def utc_text_or_none(at: datetime | None) -> str | None:
    return utc_text(at) if at else None
