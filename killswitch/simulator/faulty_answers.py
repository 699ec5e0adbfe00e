"""The faults that are another answer: all that an EMS, or a proxy before it, may send."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from killswitch.simulator import payloads
from killswitch.simulator.parameters import InvalidFault, Parameters
from killswitch.simulator.scenarios import (
    EVERYTHING,
    NOTHING,
    Builder,
    Call,
    Reply,
    Scenario,
)

_MISSPELT_JSON = "appliction/json"  # as the EMS's document declares it for its own rejects
_HTML = "text/html; charset=utf-8"
_UNREACHABLE_URL = "http://127.0.0.1:9/elsewhere"
_MEBIBYTE = 1024 * 1024
_OVERSIZED_BYTES = {Call.CANCEL: 2 * _MEBIBYTE, Call.LIST: 65 * _MEBIBYTE}


def fixed(scenario: Scenario) -> Builder:
    """Return the builder of a fault without parameters."""
    return lambda _parameters, _call: scenario


empty = fixed(Scenario(reply=Reply()))
unknown_shape = fixed(
    Scenario(reply=Reply(body=payloads.fixed(b'{"result": "accepted", "queue": [17]}')))
)
not_json = fixed(Scenario(reply=Reply(body=payloads.page(title="Welcome"), content_type=_HTML)))


def message(parameters: Parameters, _call: Call) -> Scenario:
    severity = parameters.text_or_none("severity", default="INFO")
    body = payloads.message(severity=severity, text=parameters.text("message", default="Ok"))
    return Scenario(
        reply=Reply(body=body), cancel_effect=NOTHING if severity == "ERROR" else EVERYTHING
    )


def reject(parameters: Parameters, _call: Call) -> Scenario:
    reason = parameters.text_or_none("reason")
    status = parameters.status(default=200)
    body = payloads.rejection(
        reason=reason,
        text=parameters.text("message", default=f"Simulated reject: {reason}"),
        rejected=parameters.text_or_none("rejected_message"),
    )
    content_type = "application/json" if status == 200 else _MISSPELT_JSON
    return _not_carried_out(Reply(status=status, body=body, content_type=content_type))


def oversized(parameters: Parameters, call: Call) -> Scenario:
    size = parameters.whole("bytes", default=_OVERSIZED_BYTES[call])
    body = payloads.padded_list(size=size) if call is Call.LIST else payloads.padded(size=size)
    return Scenario(reply=Reply(body=body))


def bad_request(parameters: Parameters, _call: Call) -> Scenario:
    errors = parameters.one_of("errors", allowed=("string", "object"), default="object")
    body = payloads.problem(errors=errors)
    return _not_carried_out(Reply(status=400, body=body, content_type="application/problem+json"))


def refused(*, status: int, text: str) -> Builder:
    body = payloads.fixed(payloads.encoded({"error": text}))
    return fixed(_not_carried_out(Reply(status=status, body=body)))


def too_many(parameters: Parameters, _call: Call) -> Scenario:
    """Send `retry_after` (text) as it is, or `retry_after_date` (seconds from now) as a date."""
    headers: tuple[tuple[str, str], ...] = ()
    if text := parameters.text_or_none("retry_after"):
        headers = (("Retry-After", text),)
    if from_now := parameters.seconds("retry_after_date", default=0):
        when = datetime.now(UTC) + timedelta(seconds=from_now)
        headers = (("Retry-After", format_datetime(when, usegmt=True)),)
    body = payloads.fixed(payloads.encoded({"error": "Too many requests"}))
    return _not_carried_out(Reply(status=429, body=body, headers=headers))


def redirect(parameters: Parameters, _call: Call) -> Scenario:
    headers = (("Location", parameters.text("location", default=_UNREACHABLE_URL)),)
    return _not_carried_out(Reply(status=parameters.status(default=302), headers=headers))


def server_error(parameters: Parameters, _call: Call) -> Scenario:
    status = parameters.status(default=500)
    body = payloads.page(title=f"{status} from a proxy")
    return _not_carried_out(Reply(status=status, body=body, content_type=_HTML))


def hostile(parameters: Parameters, call: Call) -> Scenario:
    kind = parameters.one_of("kind", allowed=payloads.HOSTILE_KINDS, default="nul")
    length = parameters.whole("length", default=100_000)
    if call is Call.LIST:
        return Scenario(reply=Reply(body=payloads.hostile_list(kind=kind, length=length)))
    reason = parameters.text("reason", default="JSON_ERROR")
    body = payloads.hostile_rejection(kind=kind, length=length, reason=reason)
    return _not_carried_out(Reply(body=body))


def raw(parameters: Parameters, _call: Call) -> Scenario:
    """Send any answer at all, for cases that no other fault covers."""
    body = parameters.text("body").encode("utf-8", "surrogatepass")
    body_base64 = parameters.text_or_none("body_base64")
    try:
        if body_base64 is not None:
            body = base64.b64decode(body_base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidFault(f"body_base64: {error}") from None
    reply = Reply(
        status=parameters.status(default=200),
        body=payloads.fixed(body),
        content_type=parameters.text("content_type", default="application/json"),
        headers=parameters.headers(),
    )
    return Scenario(reply=reply) if reply.status < 300 else _not_carried_out(reply)


def _not_carried_out(reply: Reply) -> Scenario:
    return Scenario(reply=reply, cancel_effect=NOTHING)
