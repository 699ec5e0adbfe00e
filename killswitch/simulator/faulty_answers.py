"""The faults that are another answer: all that an EMS, or a proxy before it, may send."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

from killswitch.simulator import answers
from killswitch.simulator.http import Outgoing
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import EVERYTHING, NOTHING, Call, Scenario

_UNREACHABLE_URL = "http://127.0.0.1:9/elsewhere"
_MEBIBYTE = 1024 * 1024

Builder = Callable[[Parameters, Call], Scenario]


def accepted(answer: Outgoing) -> Scenario:
    """Return the scenario of a cancel that is carried out and gets this answer."""
    return Scenario(reply=lambda _exchange_id: answer)


def refused(answer: Outgoing) -> Scenario:
    """Return the scenario of a cancel that is not carried out and gets this answer."""
    return Scenario(reply=lambda _exchange_id: answer, cancel_effect=NOTHING)


def message(parameters: Parameters, _call: Call) -> Scenario:
    severity = parameters.text_or_none("severity", default="INFO")
    text = parameters.text("message", default="Ok")
    return Scenario(
        reply=partial(answers.message, severity=severity, text=text),
        cancel_effect=NOTHING if severity == "ERROR" else EVERYTHING,
    )


def reject(parameters: Parameters, _call: Call) -> Scenario:
    reason = parameters.text_or_none("reason")
    reply = partial(
        answers.rejection,
        reason=reason,
        text=parameters.text("message", default=f"Simulated reject: {reason}"),
        rejected_message=parameters.text_or_none("rejected_message"),
        status=parameters.status(default=200),
    )
    return Scenario(reply=reply, cancel_effect=NOTHING)


def oversized(parameters: Parameters, call: Call) -> Scenario:
    if call is Call.CANCEL:
        size = parameters.whole("bytes", default=2 * _MEBIBYTE)
        return Scenario(reply=partial(answers.padded, size=size))
    size = parameters.whole("bytes", default=65 * _MEBIBYTE)
    return Scenario(reply=lambda _exchange_id: Outgoing(body=b"[" + b" " * max(0, size - 2) + b"]"))


def bad_request(parameters: Parameters, _call: Call) -> Scenario:
    errors = parameters.one_of("errors", allowed=("string", "object"), default="object")
    return refused(answers.problem(errors=errors))


def too_many(parameters: Parameters, _call: Call) -> Scenario:
    """Send `retry_after` (text) as it is, or `retry_after_date` (seconds from now) as a date."""
    pause = parameters.text_or_none("retry_after")
    if from_now := parameters.seconds("retry_after_date", default=0):
        pause = format_datetime(datetime.now(UTC) + timedelta(seconds=from_now), usegmt=True)
    headers = (("Retry-After", pause),) if pause else ()
    return refused(replace(answers.error(429, "Too many requests"), headers=headers))


def redirect(parameters: Parameters, _call: Call) -> Scenario:
    headers = (("Location", parameters.text("location", default=_UNREACHABLE_URL)),)
    return refused(Outgoing(status=parameters.status(default=302), headers=headers))


def server_error(parameters: Parameters, _call: Call) -> Scenario:
    status = parameters.status(default=500)
    return refused(answers.page(title=f"{status} from a proxy", status=status))


def hostile(parameters: Parameters, call: Call) -> Scenario:
    kind = parameters.one_of("kind", allowed=answers.HOSTILE_KINDS, default="nul")
    length = parameters.whole("length", default=100_000)
    if call is Call.LIST:
        return Scenario(reply=partial(answers.hostile_list, kind=kind, length=length))
    reason = parameters.text("reason", default="JSON_ERROR")
    reply = partial(answers.hostile_rejection, kind=kind, length=length, reason=reason)
    return Scenario(reply=reply, cancel_effect=NOTHING)


def raw(parameters: Parameters, _call: Call) -> Scenario:
    """Send any answer at all, for cases that no other fault covers."""
    body = parameters.text("body").encode("utf-8", "surrogatepass")
    body_base64 = parameters.text_or_none("body_base64")
    try:
        if body_base64 is not None:
            body = base64.b64decode(body_base64, validate=True)
    except ValueError as error:
        raise InvalidFault(f"body_base64: {error}") from None
    answer = Outgoing(
        status=parameters.status(default=200),
        body=body,
        content_type=parameters.text("content_type", default="application/json"),
        headers=parameters.headers(),
    )
    return accepted(answer) if answer.status < 300 else refused(answer)
