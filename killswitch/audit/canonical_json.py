"""Canonical JSON (RFC 8785): each value has one text, the same in every program.

For ASCII keys, integers below 2^53 and no floats, Python's own encoder writes exactly that text.
All other values are refused, as another program might write them differently.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MAX_INTEGER = 2**53 - 1
# Without the check of `encode`, which takes most of the time: for values that passed it before.
encode_unchecked = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False
).encode


class NotCanonical(ValueError):
    """This value has no canonical text here."""


def encode(value: Any) -> str:
    """Return the canonical text. Raises `NotCanonical`."""
    _check(value)
    return encode_unchecked(value)


def utc_text(at: datetime) -> str:
    """Return UTC with six digits of microseconds: `2026-11-22T08:00:00.000000Z`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def encode_bytes(body: bytes) -> dict[str, str]:
    """Return foreign bytes as text if they are strict UTF-8, else as base64, with the encoding."""
    try:
        return {"encoding": "utf-8", "text": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {"encoding": "base64", "text": base64.b64encode(body).decode("ascii")}


def _check(value: Any) -> None:
    match value:
        case str():  # first, because most values are texts
            _check_text(value)
        case bool() | None:
            return
        case int():
            if abs(value) > MAX_INTEGER:
                raise NotCanonical(f"the number {value} is too large")
        case list() | tuple():
            for item in value:
                _check(item)
        case Mapping():
            for key, item in value.items():
                if not (isinstance(key, str) and key.isascii()):
                    raise NotCanonical(f"the key {key!r} is not ASCII text")
                # Most values; to be asked for here takes a third of the time of a call.
                if not (type(item) is str and item.isascii()):
                    _check(item)
        case _:
            raise NotCanonical(f"{type(value).__name__} has no canonical form here")


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NotCanonical("a text contains half a surrogate pair") from None
