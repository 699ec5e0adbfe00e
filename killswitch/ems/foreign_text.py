"""Foreign text and foreign JSON, made safe to keep, whatever the EMS sends."""

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

MAX_TEXT_CHARS = 4_000
CUT_MARK = "… (cut)"
# 64 MiB of orders have some four million; ten times as many would stop all other threads for long.
MAX_VALUES = 6_000_000
# Characters of one value of a list: while it is decoded no other thread has its turn. A group of
# some fifty thousand orders is one.
MAX_ROW_CHARS = 16 * 1024 * 1024

_SPACE = re.compile(r"[ \t\n\r]*")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class InvalidJson(Exception):
    """The body is no JSON document that everybody would read the same way."""


class NumberText(str):
    """A JSON number kept as it was written, so that a price of 0.10 stays 0.10."""

    __slots__ = ()


def sanitize(text: str) -> str:
    """NUL and lone surrogates, which databases refuse, as visible escapes; all else unchanged."""
    return _UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def truncate(text: str, *, limit: int = MAX_TEXT_CHARS) -> str:
    """`storable(text)` in at most `limit` characters, marked when cut."""
    safe = sanitize(text[: limit + 1])
    if len(safe) <= limit:
        return safe
    return safe[: limit - len(CUT_MARK)] + CUT_MARK


def as_text(value: object, *, limit: int = MAX_TEXT_CHARS) -> str:
    """A JSON value as bounded text: strings as they are, absent as "", others as their JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return truncate(value, limit=limit)
    try:
        return truncate(json.dumps(value, ensure_ascii=False), limit=limit)
    except (RecursionError, ValueError):
        return CUT_MARK  # nested too deeply to be written again; the raw body has it


def parse_json(body: bytes) -> object:
    """The document in `body`. Raises NotJson when strict readers would not agree on it."""
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidJson(_why(error)) from None


def parse_rows(body: bytes) -> Iterator[object]:
    """The values of the array in `body`, one after the other, with every number as `Digits`.

    Raises NotJson, when it comes to it: only an array that was read to its end is one. A list of
    many megabytes is never in memory as a whole, and other threads have their turn between rows.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise InvalidJson("more values than a list of orders can have")
    try:
        yield from _rows(body.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidJson(_why(error)) from None


def _rows(text: str) -> Iterator[object]:
    at = _after("[", text, 0)
    window = _Window(text)
    while not text.startswith("]", at):
        row, at = window.decode(at)
        yield row
        at = _skip_space(text, at)
        if not text.startswith(",", at):
            break
        at = _skip_space(text, at + 1)
        if text.startswith("]", at):
            raise json.JSONDecodeError("Expecting value", text, at)
    at = _after("]", text, at)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)


class _Window:
    """Decodes values out of a piece of the text, so that none can be longer than the piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begins = 0
        self._piece = text[: 2 * MAX_ROW_CHARS]

    def decode(self, at: int) -> tuple[object, int]:
        """The value that begins there, and where it ends. Raises ValueError."""
        if at - self._begins > MAX_ROW_CHARS:
            self._begins = at
            self._piece = self._text[at : at + 2 * MAX_ROW_CHARS]
        try:
            row, end = _ROW.raw_decode(self._piece, at - self._begins)
        except ValueError as error:
            if self._begins + len(self._piece) < len(self._text):
                raise ValueError("no JSON, or a value too long for a list of orders") from error
            raise
        return row, self._begins + end


def _after(sign: str, text: str, at: int) -> int:
    at = _skip_space(text, at)
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f"Expecting {sign}", text, at)
    return _skip_space(text, at + 1)


def _skip_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


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
            return truncate(str(error), limit=200)


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


def _digits(text: str) -> NumberText:
    """A function of Python's, because other threads have their turn whenever it is called."""
    return NumberText(text)


_ROW = json.JSONDecoder(
    object_pairs_hook=_unique_keys,
    parse_constant=_refuse_constant,
    parse_float=_digits,
    parse_int=_digits,
)
