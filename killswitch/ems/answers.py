"""What an answer to cancel-all means: the table of the EMS's answers as pure functions."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

from killswitch.ems.foreign_json import (
    AmbiguousObject,
    InvalidJson,
    as_text,
    bounded_text,
    parse_json,
    parse_leniently,
)

MAX_BODY_BYTES = 1024 * 1024
MAX_PLAIN_TEXT_BYTES = 500


class Outcome(StrEnum):
    """What one call achieved, as far as is known."""

    ACKNOWLEDGED = "ACKNOWLEDGED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    NOT_DELIVERED = "NOT_DELIVERED"


class RetryAdvice(StrEnum):
    """How often and when the same call may be repeated while orders may be open."""

    AT_ONCE = "AT_ONCE"
    AFTER_PAUSE = "AFTER_PAUSE"
    # The request itself was refused. Venues do so because one order was filled meanwhile, because
    # their session is logging on again, or because another cancel is in progress; the next call
    # succeeds. A refusal that does not pass must not be repeated without end.
    A_FEW_TIMES = "A_FEW_TIMES"
    # Our key was refused. More attempts could lock it.
    ONCE_MORE = "ONCE_MORE"


@dataclass(frozen=True, kw_only=True)
class CancelAnswer:
    """What one answer to cancel-all means, or its absence.

    The texts (`reject_reason`, `message`, `rejected_message`, `trace_id`) are the EMS's own, made
    storable and bounded; only `transport_error` is ours. `retry_after` is in seconds.
    """

    outcome: Outcome
    retry_advice: RetryAdvice
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

    @property
    def delivered(self) -> bool:
        """Return True when the call reached the EMS, or may have."""
        return self.outcome is not Outcome.NOT_DELIVERED


@dataclass(frozen=True, kw_only=True)
class TimedCancelAnswer(CancelAnswer):
    """An answer, and when the call was made (UTC); the duration is measured monotonically."""

    started_at: datetime
    finished_at: datetime
    duration_ms: float


# Refusals that pass by themselves, so that the same call may succeed later.
_TRANSIENT_REASONS = frozenset({"EXCHANGE_UNREACHABLE", "EXCHANGE_RESPONSE_TIMEOUT", "OTHER"})
# The exchange did not answer in time, and may still carry the cancel out.
_LATE_REASON = "EXCHANGE_RESPONSE_TIMEOUT"

# What serializers write where there is no reason. In the message of a success it decides nothing.
_NO_REASON = frozenset({"", "NONE", "NULL", "0", "FALSE", "{}", "[]"})
# An answer that contradicts itself in one of these is not an answer.
_DECIDING_KEYS = frozenset({"type", "severity", "reject_reason", "exchange_id"})

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


def read_cancel(
    *,
    exchange_id: str,
    http_status: int,
    headers: Mapping[str, str],
    body: bytes,
    complete: bool,
) -> CancelAnswer:
    """Return what an answer means; never raises. `complete` is False for a body cut short."""
    whole = complete and len(body) <= MAX_BODY_BYTES
    body = body[:MAX_BODY_BYTES]
    document, is_strict = _json_object(body)
    is_contradiction = isinstance(document, AmbiguousObject) and bool(
        document.repeated_keys & _DECIDING_KEYS
    )
    outcome = _outcome(
        http_status,
        document={} if is_contradiction or not whole else document,
        exchange_id=exchange_id,
    )
    if outcome is Outcome.ACKNOWLEDGED and not is_strict:
        outcome = Outcome.UNKNOWN
    reason = as_text(document.get("reject_reason"))
    is_open = _may_have_been_carried_out(outcome, http_status=http_status, reason=reason)
    return CancelAnswer(
        outcome=outcome,
        retry_advice=retry_advice(
            outcome,
            http_status=http_status,
            reject_reason=reason,
            may_have_been_carried_out=is_open,
        ),
        http_status=http_status,
        reject_reason=reason,
        message=_message(document, http_status=http_status)
        or ("" if outcome is Outcome.ACKNOWLEDGED else _plain_text(body)),
        rejected_message=as_text(document.get("rejected_message")),
        trace_id=as_text(document.get("traceId")),
        body=body,
        body_complete=whole,
        retry_after=parse_retry_after(headers) if http_status == 429 else None,
        may_have_been_carried_out=is_open,
    )


def retry_advice(
    outcome: Outcome,
    *,
    http_status: int | None,
    reject_reason: str,
    may_have_been_carried_out: bool,
) -> RetryAdvice:
    """Return how often and when a call with this answer may be repeated."""
    if (
        outcome is not Outcome.REJECTED
        or may_have_been_carried_out
        or http_status in (429, 490)
        or (http_status in (200, 504) and _symbol(reject_reason) in _TRANSIENT_REASONS)
    ):
        return RetryAdvice.AFTER_PAUSE
    return RetryAdvice.ONCE_MORE if http_status in (401, 403) else RetryAdvice.A_FEW_TIMES


def not_delivered(error: str) -> CancelAnswer:
    """Return the meaning of a call that, for certain, the EMS did not process."""
    return CancelAnswer(
        outcome=Outcome.NOT_DELIVERED,
        retry_advice=RetryAdvice.AFTER_PAUSE,
        transport_error=bounded_text(error),
    )


def no_answer(error: str, *, at_once: bool, http_status: int | None = None) -> CancelAnswer:
    """Return the meaning of a call that left, at least in part, and was not answered.

    `at_once`: a reused connection broke before one byte of an answer. That proves only that the
    EMS had closed an idle connection.
    """
    return CancelAnswer(
        outcome=Outcome.UNKNOWN,
        retry_advice=RetryAdvice.AT_ONCE if at_once else RetryAdvice.AFTER_PAUSE,
        http_status=http_status,
        body_complete=False,
        transport_error=bounded_text(error),
        may_have_been_carried_out=True,
    )


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the pause in seconds that the EMS requests with Retry-After: a number or a date.

    Return None without the header, and for a value that is invalid or in the past.
    """
    values = (value for name, value in headers.items() if name.lower() == "retry-after")
    value = next(values, "").strip()
    if not value or len(value) > 100:
        return None
    try:
        if _SECONDS.fullmatch(value):
            seconds = float(value)
        else:
            date = parsedate_to_datetime(value)
            date = date if date.tzinfo else date.replace(tzinfo=UTC)
            seconds = (date - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _json_object(body: bytes) -> tuple[Mapping[str, object], bool]:
    """Return the JSON object in the body, and whether all readers understand it alike.

    The Content-Type does not matter. Without an object, the object returned is empty.
    """
    for parse, is_strict in ((parse_json, True), (parse_leniently, False)):
        try:
            document = parse(body)
        except InvalidJson:
            continue
        return (document, is_strict) if isinstance(document, dict) else ({}, False)
    return {}, False


def _outcome(http_status: int, *, document: Mapping[str, object], exchange_id: str) -> Outcome:
    if http_status == 200:
        return _outcome_of_200(document, exchange_id=exchange_id)
    if 400 <= http_status < 500 or (http_status == 504 and _is_reject(document)):
        return Outcome.REJECTED
    return Outcome.UNKNOWN


def _outcome_of_200(document: Mapping[str, object], *, exchange_id: str) -> Outcome:
    """Decide by the body alone: the documented body of a 200 is a *reject* message."""
    if _is_reject(document):
        return Outcome.REJECTED
    if document.get("type") not in ("message", "MESSAGE"):
        return Outcome.UNKNOWN
    has_odd_reason = document.get("reject_reason") is not None
    severity = document.get("severity")
    if severity is None or _symbol(severity) in ("INFO", "WARNING"):
        about_ours = document.get("exchange_id") in (None, exchange_id)
        is_clear = about_ours and not has_odd_reason
        return Outcome.ACKNOWLEDGED if is_clear else Outcome.UNKNOWN
    return Outcome.REJECTED if _symbol(severity) == "ERROR" else Outcome.UNKNOWN


def _is_reject(document: Mapping[str, object]) -> bool:
    has_reject_type = _symbol(document.get("type")) == "MESSAGE_REJECT"
    return has_reject_type or _has_reason(document)


def _has_reason(document: Mapping[str, object]) -> bool:
    reason = document.get("reject_reason")
    return reason is not None and reason is not False and _symbol(as_text(reason)) not in _NO_REASON


def _symbol(value: object) -> str:
    """Return upper case for comparing, ASCII only: some other letters have an ASCII upper case."""
    return value.strip().upper() if isinstance(value, str) and value.isascii() else ""


def _may_have_been_carried_out(outcome: Outcome, *, http_status: int, reason: str) -> bool:
    if outcome is Outcome.REJECTED:
        symbol = _symbol(reason)
        return symbol == _LATE_REASON or (http_status == 504 and not symbol)
    return outcome is Outcome.UNKNOWN


def _message(document: Mapping[str, object], *, http_status: int) -> str:
    """Return the EMS's sentence: problem details have it in other fields than its own messages.

    Gateways in front of it write the names of these fields in several ways.
    """
    fields = {name.lower(): value for name, value in reversed(list(document.items()))}
    if isinstance(fault := fields.get("fault"), dict):
        fields |= fault
    names = ("message", "error", "msg", "error_description", "faultstring")
    own = next((text for name in names if (text := as_text(fields.get(name)))), "")
    details = (as_text(fields.get(name)) for name in ("title", "detail", "errors"))
    problem = ": ".join(filter(None, details))
    return bounded_text((problem or own) if http_status == 400 else (own or problem))


def _plain_text(body: bytes) -> str:
    """Return a short answer that is text and neither JSON nor markup; "" for any other."""
    text = body[: MAX_PLAIN_TEXT_BYTES + 1].decode(errors="replace").strip().strip('"').strip()
    is_text = len(body) <= MAX_PLAIN_TEXT_BYTES and text.isprintable()
    return "" if not is_text or text.startswith(("<", "{", "[")) else bounded_text(text)
