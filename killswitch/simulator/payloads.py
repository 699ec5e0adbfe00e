"""The bodies of answers by an EMS, or by a proxy in front of it."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

from killswitch.simulator.orders import placed_history, random_order

Body = Callable[[str], bytes]

_MARKUP = "<script>alert('killed')</script><img src=x onerror=alert(1)>&amp;\"'</td></table>"
_PLACEHOLDER = "PAYLOAD-HERE"
HOSTILE_KINDS = ("nul", "surrogate", "utf8", "huge", "html", "deep")


def encoded(value: object) -> bytes:
    """Return the value as JSON."""
    return json.dumps(value).encode()


def message(*, severity: str | None, text: str) -> Body:
    """Return the acknowledgement of older published documents; None omits the severity."""

    def body(exchange_id: str) -> bytes:
        document = {"type": "message", "severity": severity, "exchange_id": exchange_id}
        if severity is None:
            del document["severity"]
        return encoded(document | {"message": text})

    return body


def rejection(*, reason: str | None, text: str, rejected: str | None = None) -> Body:
    """Return a MESSAGE_REJECT; None omits the reason."""

    def body(exchange_id: str) -> bytes:
        request = {"type": "ORDER_CANCEL_ALL_REQUEST", "exchange_id": exchange_id}
        document = {
            "type": "MESSAGE_REJECT",
            "reject_reason": reason,
            "exchange_id": exchange_id,
            "message": text,
            "rejected_message": json.dumps(request) if rejected is None else rejected,
        }
        if reason is None:
            del document["reject_reason"]
        return encoded(document)

    return body


def problem(*, errors: str) -> Body:
    """Return problem details; `errors` is a string, as declared, or an object as by ASP.NET."""
    text = "The exchange_id field is not valid."
    document = {
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": "00-simulator-7d3c-01",
        "errors": text if errors == "string" else {"exchange_id": [text]},
    }
    return lambda _exchange_id: encoded(document)


def page(*, title: str) -> Body:
    """Return the HTML page of a proxy that got no answer from the EMS."""
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return lambda _exchange_id: html.encode()


def fixed(body: bytes) -> Body:
    """Return the same bytes for every exchange."""
    return lambda _exchange_id: body


def padded(*, size: int) -> Body:
    """Return a valid acknowledgement of so many bytes."""

    def body(exchange_id: str) -> bytes:
        short = message(severity="INFO", text="")(exchange_id)
        return short[:-2] + b"x" * max(0, size - len(short)) + short[-2:]

    return body


def padded_list(*, size: int) -> Body:
    """Return a valid, empty list of so many bytes."""
    return lambda _exchange_id: b"[" + b" " * max(0, size - 2) + b"]"


def hostile_rejection(*, kind: str, length: int, reason: str) -> Body:
    """Return a MESSAGE_REJECT with a hostile message."""
    whole = rejection(reason=reason, text=_PLACEHOLDER)
    return lambda exchange_id: _with_payload(whole(exchange_id), kind=kind, length=length)


def hostile_list(*, kind: str, length: int) -> Body:
    """Return one open order with a hostile symbol."""

    def body(exchange_id: str) -> bytes:
        order = random_order(
            exchange_id=exchange_id,
            rng=random.Random(exchange_id),  # noqa: S311 - sample figures, not a secret
            history=placed_history(),
        )
        report = replace(order, symbol_id_exchange=_PLACEHOLDER).report
        return b"[" + _with_payload(report.encode(), kind=kind, length=length) + b"]"

    return body


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
