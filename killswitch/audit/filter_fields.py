"""Reads each field of a selection as people write it, and says in words what is wrong with it."""

import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from killswitch.audit.models import Kind

MAX_CHARS: Final = 200  # characters


def _moment(text: str, *, day_ends: bool = False) -> datetime:
    """A day, or a time; UTC unless it says otherwise. The end of a range includes its day."""
    try:
        if len(text) == len("2026-11-22"):
            # A day as the end of a range means all of that day.
            day = date.fromisoformat(text) + timedelta(days=1 if day_ends else 0)
            return datetime.combine(day, time.min, tzinfo=UTC)
        at = datetime.fromisoformat(text)
        # A plus sign in an address that nobody encoded arrives as a space, and is refused here.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"“{short(text)}” is not a time. Write 2026-11-22 or 2026-11-22T08:30:00.5 (UTC)."
        ) from None


def _end(text: str) -> datetime:
    return _moment(text, day_ends=True)


def _words(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"is longer than {MAX_CHARS} characters.")
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("holds a character that no event can hold.")
    return text


def _kind(text: str) -> str:
    if text.upper() not in Kind.values:
        raise ValueError(f"there is no kind “{short(text)}”. There are: {', '.join(Kind.values)}.")
    return text.upper()


def _status(text: str) -> str:
    if not re.fullmatch("[A-Z_]{1,20}", text.upper()):
        raise ValueError(f"“{short(text)}” is not a status, such as CONFIRMED.")
    return text.upper()


def _request(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(f"“{short(text)}” is not the id of a request.") from None


def _yes(text: str) -> bool:
    if text != "1":
        raise ValueError("is either 1 or not given.")
    return True


def short(text: str) -> str:
    """As much of a foreign text as an error message repeats."""
    return text if len(text) <= 60 else f"{text[:60]}…"


READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "from": _moment,
    "to": _end,
    "exchange": _words,
    "actor": _words,
    "kind": _kind,
    "status": _status,
    "reject_reason": _words,
    "request": _request,
    "text": _words,
    "unreviewed": _yes,
}
