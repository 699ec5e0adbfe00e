"""The form "I telephoned" of a telephone card: what was typed, and what is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from django.http import QueryDict

from killswitch.break_glass.telephone.cards import Call
from killswitch.cancels import press_keys
from killswitch.runtime.text import clean_line

MAX_CHARS = {"spoke_to": 200, "reference": 200, "note": 500}
MAX_TIME_CHARS = 30
MAX_AHEAD = timedelta(minutes=1)
MAX_LATE = timedelta(days=31)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?", re.ASCII)


class InvalidTime(Exception):
    """The time of a call cannot be right; the message says why and what to enter."""


@dataclass(frozen=True, kw_only=True)
class CallForm:
    """The form of one card. `key` makes two clicks one event; `errors` are by field."""

    pk: int
    key: str
    at: str = ""
    spoke_to: str = ""
    reference: str = ""
    note: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    call: Call | None = None  # without errors

    @classmethod
    def fresh(cls, pk: int, *, user_id: int) -> Self:
        """Return an empty form with a new one-use key."""
        return cls(pk=pk, key=press_keys.make(user_id=user_id, target=target(pk)))

    @classmethod
    def of_post(cls, data: QueryDict, *, pk: int) -> Self:
        """Read what was sent; an empty time is the time at which it arrived."""
        now, errors = datetime.now(UTC), {}
        typed = {name: data.get(name, "").strip() for name in MAX_CHARS}
        for name, text in typed.items():
            if len(text) > MAX_CHARS[name]:
                errors[name] = f"Use at most {MAX_CHARS[name]} characters. This has {len(text)}."
        words = {name: clean_line(typed[name], max_chars=MAX_CHARS[name]) for name in typed}
        if not words["spoke_to"]:
            errors["spoke_to"] = "Enter who answered, or “nobody” if the call was not answered."
        at = data.get("at", "").strip()[:MAX_TIME_CHARS]
        call = None
        try:
            telephoned_at = parse_time(at, now=now)
            at = at or f"{now:%Y-%m-%d %H:%M:%S}"  # if it is sent again, it is not later
            if not errors:
                call = Call(
                    telephoned_at=telephoned_at,
                    spoke_to=words["spoke_to"],
                    reference=words["reference"],
                    note=words["note"],
                )
        except InvalidTime as error:
            errors["at"] = str(error)
        return cls(pk=pk, key=data.get("key", ""), at=at, errors=errors, call=call, **typed)


def target(pk: int) -> str:
    """Return what a key of this form is for."""
    return f"telephoned {pk}"


def parse_time(text: str, *, now: datetime) -> datetime:
    """Return the time in UTC that was typed; `now` for an empty text. Raises `InvalidTime`."""
    if not text:
        return now
    example = f"{now:%Y-%m-%d %H:%M}"
    match = _TIME.fullmatch(text)  # other forms of ISO 8601 are easily mistyped
    try:
        at = datetime.fromisoformat(match[0] if match else "").replace(tzinfo=UTC)
    except ValueError:
        message = f"Enter day and time in UTC, e.g. {example}, or leave it empty for now."
        raise InvalidTime(message) from None
    if at > now + MAX_AHEAD:
        raise InvalidTime(f"This is in the future: it is {example} UTC now. Enter the time in UTC.")
    if at < now - MAX_LATE:
        raise InvalidTime(f"This is more than {MAX_LATE.days} days ago. Check the date.")
    return at
