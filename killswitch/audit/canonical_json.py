"""Canonical JSON: one text for one value, the same in every program (RFC 8785).

With text keys, whole numbers below 2^53 and no floats, Python's own encoder gives exactly that
text; anything else is refused rather than encoded in a way that another program would not repeat.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MAX_INTEGER = 2**53 - 1
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class NotCanonical(ValueError):
    """A value that has no single canonical text here."""


def encode(value: Any) -> str:
    """The canonical text. Raises `NotCanonical`."""
    _check(value)
    return _ENCODER.encode(value)


def utc_text(at: datetime) -> str:
    """UTC with microseconds and a Z, whatever they are: `2026-11-22T08:00:00.000000Z`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode_bytes(body: bytes) -> dict[str, str]:
    """Bytes from outside as text when they are strict UTF-8, as base64 otherwise; it says which."""
    try:
        return {"encoding": "utf-8", "text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(body).decode("ascii")}


def _check(value: Any) -> None:
    match value:
        case bool() | None:
            return
        case int():
            if abs(value) > MAX_INTEGER:
                raise NotCanonical(f"the number {value} is too large")
        case str():
            if not (value.isascii() or _is_whole(value)):
                raise NotCanonical("a text holds half a surrogate pair")
        case list() | tuple():
            for item in value:
                _check(item)
        case Mapping():
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise NotCanonical(f"the key {key!r} is not ASCII text")
                _check(item)
        case _:
            raise NotCanonical(f"{type(value).__name__} has no canonical form here")


def _is_whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
