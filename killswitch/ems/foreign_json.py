"""JSON from the EMS, read in bounded time, and its texts made safe to store.

`parse_json` is strict: only a document that all readers understand alike may acknowledge a cancel.
`parse_leniently` and `parse_rows` keep what can be read of a document with small defects, so that
a refusal keeps its reason and one damaged row of a list spoils only itself.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

from killswitch.runtime.text import sanitize, truncate

MAX_TEXT_CHARS = 4_000
CUT_MARK = "… (truncated)"
# 64 MiB of orders have some four million; ten times as many would stop all other threads for long.
MAX_VALUES = 6_000_000
# A few odd rows are read over. Looking for the end of each takes time.
MAX_UNREADABLE_ROWS = 200
# While one value of a list is decoded, no other thread runs. A group of some fifty thousand orders
# is one value.
MAX_ROW_CHARS = 16 * 1024 * 1024

_ARRAY_START = re.compile(r"[ \t\n\r]*\[[ \t\n\r]*(\][ \t\n\r]*)?")
# Possessive: without it, a text that never ends would take time that grows with its square.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)
_SEPARATOR = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


class InvalidJson(Exception):
    """The body is not a JSON document that all readers would understand alike."""


class NumberText(str):
    """A JSON number as it was written, so that a price of 0.10 stays 0.10; also a bare NaN."""

    __slots__ = ()


class AmbiguousObject(dict[str, object]):
    """A JSON object that gives one key several values. These keys are left out."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        for key, value in pairs:
            if key in self and self[key] != value:
                del self[key]
        self.repeated_keys = {key for key, _ in pairs} - self.keys()


class UnreadableRow:
    """A row of a list that is not JSON, although its end can be found."""


def bounded_text(text: str, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return foreign text as it can be stored, in at most `max_chars`, marked when cut."""
    if len(text) <= max_chars and text.isprintable():
        return text[:max_chars]  # as almost all are; a slice of a `NumberText` is a plain text
    return truncate(sanitize(text[: max_chars + 1]), max_chars, mark=CUT_MARK)


def as_text(value: object, *, max_chars: int = MAX_TEXT_CHARS) -> str:
    """Return a JSON value as bounded text: strings as they are, null as "", others as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return bounded_text(value, max_chars=max_chars)
    try:
        return bounded_text(json.dumps(value, ensure_ascii=False), max_chars=max_chars)
    except (RecursionError, ValueError):
        return CUT_MARK  # nested too deeply to be written again; the raw body has it


def parse_json(body: bytes) -> object:
    """Return the document in `body`. Raises InvalidJson when strict readers would not agree."""
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique_keys,
            parse_constant=_reject_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidJson(_reason(error)) from None


def parse_leniently(body: bytes) -> object:
    """Return the document in `body`, also one with a bare NaN, a repeated key or a stray byte.

    Numbers are `NumberText`, objects with a repeated key `AmbiguousObject`. Raises InvalidJson.
    """
    try:
        return _LENIENT.decode(_decode(body.rstrip(b"\0")))
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidJson(_reason(error)) from None


def parse_rows(body: bytes, *, max_row_chars: int = MAX_ROW_CHARS) -> Iterator[object]:
    """Yield the values of the array in `body` one by one, read as by `parse_leniently`.

    An object that is not JSON becomes an `UnreadableRow`. Raises InvalidJson as soon as the text is
    not such an array: the rows are a list only once all of them were read. A list of many megabytes
    is never in memory as a whole, and other threads run between rows.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise InvalidJson("more values than a list of orders can have")
    try:
        yield from _rows(_decode(body), max_row_chars=max_row_chars)
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidJson(_reason(error)) from None


def _decode(body: bytes) -> str:
    """Decode, keeping a byte that is not UTF-8 as a lone surrogate, which no valid text holds."""
    return body.decode("utf-8-sig", errors="surrogateescape")


def _rows(text: str, *, max_row_chars: int) -> Iterator[object]:
    """Decode each value within a window of the text, so that none can be longer than the window."""
    start = _ARRAY_START.match(text)
    if not start:
        raise json.JSONDecodeError("Expecting [", text, 0)
    position, at_end, unreadable_rows = start.end(), start[1] is not None, 0
    window_start, window = 0, text[: 2 * max_row_chars]
    while not at_end:
        if position - window_start > max_row_chars:
            window_start, window = position, text[position : position + 2 * max_row_chars]
        row: object
        try:
            row, row_end = _LENIENT.raw_decode(window, position - window_start)
        except (ValueError, RecursionError) as error:
            row, row_end = UnreadableRow(), _end_of_object(window, position - window_start)
            if row_end < 0 and window_start + len(window) < len(text):
                raise ValueError("not JSON, or a value too long for a list of orders") from error
            unreadable_rows += 1
            if row_end < 0 or unreadable_rows > MAX_UNREADABLE_ROWS:
                raise
        yield row
        separator = _SEPARATOR.match(text, window_start + row_end)
        if not separator:
            raise json.JSONDecodeError("Expecting , or ]", text, window_start + row_end)
        position, at_end = separator.end(), separator[1] == "]"
    if position != len(text):
        raise json.JSONDecodeError("Extra data", text, position)


def _end_of_object(text: str, start: int) -> int:
    """Return where an object ends that cannot be decoded; -1 if that cannot be told."""
    if not text.startswith("{", start):
        return -1
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(text, start):
        depth += (token[0] in "{[") - (token[0] in "}]")
        if depth == 0:
            return token.end()
    return -1


def _reason(error: Exception) -> str:
    """Return why parsing failed, without quoting the document, which an error may hold whole."""
    match error:
        case UnicodeDecodeError():
            return "not UTF-8"
        case json.JSONDecodeError():
            return f"{error.msg} at character {error.pos}"
        case RecursionError() | MemoryError():
            return "nested too deeply or too large"
        case _:
            return bounded_text(str(error), max_chars=200)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the object. Raises ValueError for a repeated key: readers differ in which wins."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("duplicate keys")
    return document


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _number_text(digits: str) -> NumberText:
    """Return the digits. This is a Python function, because calling one lets other threads run."""
    return NumberText(digits)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    return document if len(document) == len(pairs) else AmbiguousObject(pairs)


_LENIENT = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_number_text,
    parse_float=_number_text,
    parse_int=_number_text,
    strict=False,  # control characters within texts
)
