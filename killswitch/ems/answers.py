"""What one answer to cancel-all means: the table of the EMS's answers as pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from killswitch.ems.foreign_text import InvalidJson, as_text, parse_json, sanitize, truncate
from killswitch.ems.open_orders import OpenOrders
from killswitch.ems.retry_after import parse_retry_after

__all__ = [
    "MAX_BODY_BYTES",
    "CancelAnswer",
    "OpenOrders",
    "Outcome",
    "RetryAdvice",
    "TimedCancelAnswer",
    "no_answer",
    "not_delivered",
    "read_cancel",
    "sanitize",
]

MAX_BODY_BYTES = 1024 * 1024


class Outcome(StrEnum):
    """What one call achieved, as far as is known."""

    ACKNOWLEDGED = "ACKNOWLEDGED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    NOT_DELIVERED = "NOT_DELIVERED"


class RetryAdvice(StrEnum):
    """Whether the same call may be made again without a person asking for it."""

    NEVER = "NEVER"
    AFTER_PAUSE = "AFTER_PAUSE"
    AT_ONCE = "AT_ONCE"


@dataclass(frozen=True, kw_only=True)
class CancelAnswer:
    """What one answer, or its absence, to cancel-all means.

    The words (`reject_reason`, `message`, `rejected_message`, `trace_id`) are the EMS's own,
    made storable and bounded; ours are only in `transport_error`. `retry_after` is in seconds.
    """

    outcome: Outcome
    resend: RetryAdvice
    http_status: int | None = None
    reject_reason: str = ""
    message: str = ""
    rejected_message: str = ""
    trace_id: str = ""
    body: bytes = b""
    body_complete: bool = True
    transport_error: str = ""
    retry_after: float | None = None
    may_have_been_carried_out: bool = False


@dataclass(frozen=True, kw_only=True)
class TimedCancelAnswer(CancelAnswer):
    """A meaning, and when the call was made (UTC); the duration is measured monotonically."""

    started_at: datetime
    finished_at: datetime
    duration_ms: float


# Refusals that pass by themselves, so the same call may be made again.
_PASSING_REASONS = frozenset({"EXCHANGE_UNREACHABLE", "EXCHANGE_RESPONSE_TIMEOUT", "OTHER"})
_LATE_REASON = "EXCHANGE_RESPONSE_TIMEOUT"


def read_cancel(
    *,
    exchange_id: str,
    http_status: int,
    headers: Mapping[str, str],
    body: bytes,
    complete: bool,
) -> CancelAnswer:
    """The meaning of an answer; `complete` is False when its body was cut short. Never raises."""
    whole = complete and len(body) <= MAX_BODY_BYTES
    kept = body[:MAX_BODY_BYTES]
    said = _said(kept)
    outcome = _outcome(http_status, said=said if whole else {}, exchange_id=exchange_id)
    reason = as_text(said.get("reject_reason"))
    late = _may_have_been_carried_out(outcome, http_status=http_status, reason=reason)
    return CancelAnswer(
        outcome=outcome,
        resend=_resend(outcome, http_status=http_status, reason=reason, late=late),
        http_status=http_status,
        reject_reason=reason,
        message=_message(said, http_status=http_status),
        rejected_message=as_text(said.get("rejected_message")),
        trace_id=as_text(said.get("traceId")),
        body=kept,
        body_complete=whole,
        retry_after=parse_retry_after(headers) if http_status == 429 else None,
        may_have_been_carried_out=late,
    )


def not_delivered(error: str) -> CancelAnswer:
    """Certain that not one byte of the request left."""
    return CancelAnswer(
        outcome=Outcome.NOT_DELIVERED,
        resend=RetryAdvice.AFTER_PAUSE,
        transport_error=truncate(error),
    )


def no_answer(error: str, *, at_once: bool, http_status: int | None = None) -> CancelAnswer:
    """The request left, at least in part, and no answer came back.

    `at_once`: a reused connection broke before one byte of an answer, which says nothing about
    the EMS but that it had closed an idle connection.
    """
    return CancelAnswer(
        outcome=Outcome.UNKNOWN,
        resend=RetryAdvice.AT_ONCE if at_once else RetryAdvice.AFTER_PAUSE,
        http_status=http_status,
        body_complete=False,
        transport_error=truncate(error),
        may_have_been_carried_out=True,
    )


def _said(body: bytes) -> Mapping[str, object]:
    """The JSON object in the body, whatever its Content-Type says; empty when it holds none."""
    try:
        document = parse_json(body)
    except InvalidJson:
        return {}
    return document if isinstance(document, dict) else {}


def _outcome(http_status: int, *, said: Mapping[str, object], exchange_id: str) -> Outcome:
    if http_status == 200:
        return _outcome_of_200(said, exchange_id=exchange_id)
    if 400 <= http_status < 500 or (http_status == 504 and _is_reject(said)):
        return Outcome.REJECTED
    return Outcome.UNKNOWN


def _outcome_of_200(said: Mapping[str, object], *, exchange_id: str) -> Outcome:
    """The trap: the documented body of a 200 is a *reject* message."""
    if _is_reject(said):
        return Outcome.REJECTED
    if said.get("type") not in ("message", "MESSAGE"):
        return Outcome.UNKNOWN
    severity = said.get("severity")
    if severity is None or _symbol(severity) in ("INFO", "WARNING"):
        named = said.get("exchange_id")
        return Outcome.ACKNOWLEDGED if named in (None, exchange_id) else Outcome.UNKNOWN
    return Outcome.REJECTED if _symbol(severity) == "ERROR" else Outcome.UNKNOWN


def _is_reject(said: Mapping[str, object]) -> bool:
    return _symbol(said.get("type")) == "MESSAGE_REJECT" or said.get("reject_reason") is not None


def _symbol(value: object) -> str:
    """Upper case for comparing, ASCII only: some foreign letters have an ASCII upper case."""
    return value.strip().upper() if isinstance(value, str) and value.isascii() else ""


def _may_have_been_carried_out(outcome: Outcome, *, http_status: int, reason: str) -> bool:
    if outcome is Outcome.REJECTED:
        symbol = _symbol(reason)
        return symbol == _LATE_REASON or (http_status == 504 and not symbol)
    return outcome is Outcome.UNKNOWN


def _resend(outcome: Outcome, *, http_status: int, reason: str, late: bool) -> RetryAdvice:
    """Refusals of the request itself (other 4xx) are final, whatever reason they carry."""
    if late or http_status in (429, 490):
        return RetryAdvice.AFTER_PAUSE
    passing = http_status in (200, 504) and _symbol(reason) in _PASSING_REASONS
    return RetryAdvice.AFTER_PAUSE if outcome is Outcome.REJECTED and passing else RetryAdvice.NEVER


def _message(said: Mapping[str, object], *, http_status: int) -> str:
    """The EMS's sentence: problem details keep it elsewhere than its own messages do."""
    own = as_text(said.get("message")) or as_text(said.get("error"))
    problem = ": ".join(filter(None, (as_text(said.get("title")), as_text(said.get("errors")))))
    return truncate((problem or own) if http_status == 400 else (own or problem))
