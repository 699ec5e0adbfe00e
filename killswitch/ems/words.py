"""Foreign text and foreign JSON, made safe to keep, whatever the EMS sends."""

import json
import math
import re
from collections.abc import Callable
from typing import NoReturn

TEXT_LIMIT = 4_000
CUT_MARK = "… (cut)"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class NotJson(Exception):
    """The body is no JSON document that everybody would read the same way."""


class Digits(str):
    """A JSON number kept as it was written, so that a price of 0.10 stays 0.10."""

    __slots__ = ()


def storable(text: str) -> str:
    """NUL and lone surrogates, which databases refuse, as visible escapes; all else unchanged."""
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def bounded(text: str, *, limit: int = TEXT_LIMIT) -> str:
    """`storable(text)` in at most `limit` characters, marked when cut."""
    safe = storable(text[: limit + 1])
    if len(safe) <= limit:
        return safe
    return safe[: limit - len(CUT_MARK)] + CUT_MARK


def as_text(value: object, *, limit: int = TEXT_LIMIT) -> str:
    """A JSON value as bounded text: strings as they are, absent as "", others as their JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return bounded(value, limit=limit)
    try:
        return bounded(json.dumps(value, ensure_ascii=False), limit=limit)
    except (RecursionError, ValueError):
        return CUT_MARK  # nested too deeply to be written again; the raw body has it


def parse_json(body: bytes) -> object:
    """The document in `body`. Raises NotJson when strict readers would not agree on it."""
    return _parse(body, number=None)


def parse_json_keeping_digits(body: bytes) -> object:
    """As `parse_json`, with every number as `Digits`."""
    return _parse(body, number=Digits)


def _parse(body: bytes, *, number: Callable[[str], object] | None) -> object:
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=number or _finite,
            parse_int=number,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotJson(_why(error)) from None


def _why(error: Exception) -> str:
    """Why parsing failed, without quoting the document (a decoder's message may hold all of it)."""
    match error:
        case UnicodeDecodeError():
            return "not UTF-8"
        case json.JSONDecodeError():
            return f"{error.msg} at character {error.pos}"
        case RecursionError() | MemoryError():
            return "nested too deeply or too large"
        case _:
            return bounded(str(error), limit=200)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Readers differ in which of two equal keys wins, so such a document means nothing."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate keys")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value
