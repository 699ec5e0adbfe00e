"""The bodies that an EMS, or what stands in front of it, answers with."""

import json
import random
from collections.abc import Callable
from dataclasses import replace

from killswitch.simulator.orders import invented_order, placed_history

Body = Callable[[str], bytes]

_MARKUP = "<script>alert('killed')</script><img src=x onerror=alert(1)>&amp;\"'</td></table>"
_PLACEHOLDER = "PUT-IT-HERE"
HOSTILE_KINDS = ("nul", "surrogate", "utf8", "huge", "html", "deep")


def encoded(value: object) -> bytes:
    """JSON as bytes."""
    return json.dumps(value).encode()


def message(*, severity: str | None, text: str) -> Body:
    """The acknowledgement that older published documents show; without a severity on None."""

    def body(exchange_id: str) -> bytes:
        said = {"type": "message", "severity": severity, "exchange_id": exchange_id}
        if severity is None:
            del said["severity"]
        return encoded(said | {"message": text})

    return body


def rejection(*, reason: str | None, text: str, rejected: str | None = None) -> Body:
    """A MESSAGE_REJECT; without a reason on None."""

    def body(exchange_id: str) -> bytes:
        request = {"type": "ORDER_CANCEL_ALL_REQUEST", "exchange_id": exchange_id}
        said = {
            "type": "MESSAGE_REJECT",
            "reject_reason": reason,
            "exchange_id": exchange_id,
            "message": text,
            "rejected_message": json.dumps(request) if rejected is None else rejected,
        }
        if reason is None:
            del said["reject_reason"]
        return encoded(said)

    return body


def problem(*, errors: str) -> Body:
    """Problem details; `errors` is a string, as declared, or an object, as ASP.NET sends it."""
    text = "The exchange_id field is not valid."
    said = {
        "type": "https://tools.ietf.org/html/rfc7231#section-6.5.1",
        "title": "One or more validation errors occurred.",
        "status": 400,
        "traceId": "00-simulator-7d3c-01",
        "errors": text if errors == "string" else {"exchange_id": [text]},
    }
    return lambda _exchange_id: encoded(said)


def page(*, title: str) -> Body:
    """The HTML of a proxy that has no answer from the EMS."""
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return lambda _exchange_id: html.encode()


def fixed(body: bytes) -> Body:
    """The same bytes whatever was asked."""
    return lambda _exchange_id: body


def padded(*, size: int) -> Body:
    """An acknowledgement of so many bytes, valid to its end."""

    def body(exchange_id: str) -> bytes:
        short = message(severity="INFO", text="")(exchange_id)
        return short[:-2] + b"x" * max(0, size - len(short)) + short[-2:]

    return body


def padded_list(*, size: int) -> Body:
    """A list of so many bytes, valid to its end."""
    return lambda _exchange_id: b"[" + b" " * max(0, size - 2) + b"]"


def hostile_rejection(*, kind: str, length: int, reason: str) -> Body:
    """A MESSAGE_REJECT whose message is hostile."""
    whole = rejection(reason=reason, text=_PLACEHOLDER)
    return lambda exchange_id: _with_payload(whole(exchange_id), kind=kind, length=length)


def hostile_list(*, kind: str, length: int) -> Body:
    """One open order whose symbol is hostile."""

    def body(exchange_id: str) -> bytes:
        order = invented_order(
            exchange_id=exchange_id,
            chance=random.Random(exchange_id),  # noqa: S311 - figures to look at, no secret
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
