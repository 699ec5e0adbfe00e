"""Whole answers, as an EMS or a proxy in front of it sends them."""

import json
import random
from dataclasses import replace

from killswitch.simulator.http import Outgoing
from killswitch.simulator.orders import placed_history, random_order

HOSTILE_KINDS = ("nul", "surrogate", "utf8", "huge", "html", "deep")

_MISSPELT_JSON = "appliction/json"  # as the EMS's document declares it for its own rejects
_MARKUP = "<script>alert('killed')</script><img src=x onerror=alert(1)>&amp;\"'</td></table>"
_PLACEHOLDER = "PAYLOAD-HERE"


def encoded(value: object) -> bytes:
    """Return the value as JSON."""
    return json.dumps(value).encode()


def message(exchange_id: str, *, severity: str | None = "INFO", text: str = "Ok") -> Outgoing:
    """Return the acknowledgement of older published documents; None omits the severity."""
    document = {"type": "message", "severity": severity, "exchange_id": exchange_id}
    if severity is None:
        del document["severity"]
    return Outgoing(body=encoded(document | {"message": text}))


def rejection(
    exchange_id: str,
    *,
    reason: str | None,
    text: str,
    rejected_message: str | None = None,
    status: int = 200,
) -> Outgoing:
    """Return a MESSAGE_REJECT; None omits the reason."""
    request = {"type": "ORDER_CANCEL_ALL_REQUEST", "exchange_id": exchange_id}
    document = {
        "type": "MESSAGE_REJECT",
        "reject_reason": reason,
        "exchange_id": exchange_id,
        "message": text,
        "rejected_message": json.dumps(request) if rejected_message is None else rejected_message,
    }
    if reason is None:
        del document["reject_reason"]
    content_type = "application/json" if status == 200 else _MISSPELT_JSON
    return Outgoing(status=status, body=encoded(document), content_type=content_type)


def problem(*, errors: str = "object") -> Outgoing:
    """Return problem details; `errors` is a string, as declared, or an object as by ASP.NET."""
    text = "The exchange_id field is not valid."
    document = {
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": "00-simulator-7d3c-01",
        "errors": text if errors == "string" else {"exchange_id": [text]},
    }
    body = encoded(document)
    return Outgoing(status=400, body=body, content_type="application/problem+json")


def error(status: int, text: str) -> Outgoing:
    """Return a refusal in the words of the EMS."""
    return Outgoing(status=status, body=encoded({"error": text}))


def page(*, title: str, status: int = 200) -> Outgoing:
    """Return the HTML page of a proxy that got no answer from the EMS."""
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Outgoing(status=status, body=html.encode(), content_type="text/html; charset=utf-8")


def padded(exchange_id: str, *, size: int) -> Outgoing:
    """Return a valid acknowledgement of this size in bytes."""
    short = message(exchange_id, text="").body
    return Outgoing(body=short[:-2] + b"x" * max(0, size - len(short)) + short[-2:])


def hostile_rejection(exchange_id: str, *, kind: str, length: int, reason: str) -> Outgoing:
    """Return a MESSAGE_REJECT with a hostile message."""
    body = rejection(exchange_id, reason=reason, text=_PLACEHOLDER).body
    return Outgoing(body=_with_payload(body, kind=kind, length=length))


def hostile_list(exchange_id: str, *, kind: str, length: int) -> Outgoing:
    """Return one open order with a hostile symbol."""
    rng = random.Random(exchange_id)  # noqa: S311 - sample figures, not a secret
    order = random_order(exchange_id=exchange_id, rng=rng, history=placed_history())
    report = replace(order, symbol_id_exchange=_PLACEHOLDER).report
    return Outgoing(body=b"[" + _with_payload(report.encode(), kind=kind, length=length) + b"]")


def _with_payload(body: bytes, *, kind: str, length: int) -> bytes:
    match kind:
        case "nul":
            payload = rb'"before\u0000after"'
        case "surrogate":
            payload = rb'"before\ud800after"'
        case "utf8":
            payload = b'"before\xff\xc3\x28after"'
        case "huge":
            payload = b'"' + b"x" * length + b'"'
        case "html":
            payload = encoded(_MARKUP)
        case _:
            payload = b"[" * length + b"]" * length
    return body.replace(encoded(_PLACEHOLDER), payload)
