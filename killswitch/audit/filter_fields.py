"""The fields of the log's filter: how each is called, and how what was typed becomes a value."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from killswitch.audit.event_kinds import EventKind
from killswitch.runtime.text import truncate

MAX_CHARS: Final = 200
MAX_SHOWN_CHARS: Final = 60  # of a wrong value in an error message
# The statuses in the words of the pages; the package of the requests adds them at start.
status_labels: dict[str, str] = {}
# The ends of all requests that were not confirmed, which follow from more than the recorded status
# (`audit.not_confirmed`).
NOT_CONFIRMED: Final = "NOT_CONFIRMED"
NOT_CONFIRMED_LABEL: Final = "Not confirmed"
NOT_CONFIRMED_STATUSES: Final = ("NOT_DELIVERED", "REJECTED", "RESIDUAL", "UNKNOWN", "UNVERIFIED")
# Several event types as one choice.
CHANGES: Final = "CHANGES"
CHANGES_LABEL: Final = "Changes to users, exchanges and the runbook"


def shown(text: str) -> str:
    """Return a wrong value for an error message."""
    return truncate(text, MAX_SHOWN_CHARS)


def _parse_time(text: str, *, is_end: bool = False) -> datetime:
    """Return a day or a time, in UTC unless it has an offset. A day as the end is included."""
    try:
        if len(text) == len("2026-11-22"):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            return datetime.combine(day, time.min, tzinfo=UTC)
        at = datetime.fromisoformat(text)
        # An unescaped plus sign in an address arrives as a space, and is refused here.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"“{shown(text)}” is not a time. Write 2026-11-22 or 2026-11-22T08:30:00.5 (UTC)."
        ) from None


def _parse_end(text: str) -> datetime:
    """Return the end of a range, which begins before it."""
    at = _parse_time(text, is_end=True)
    if at == datetime.min.replace(tzinfo=UTC):
        raise ValueError("there is no time before this one.")
    return at


def _parse_text(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise ValueError(f"is longer than {MAX_CHARS} characters.")
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains a character that no event can contain.")
    return text


def _parse_choice(text: str, choices: Iterable[tuple[str, str]], *, noun: str) -> str:
    """Return the value of a choice that was given by its value or by its words, in any case."""
    by_words = {words.casefold(): value for value, label in choices for words in (label, value)} | {
        value.replace("_", " ").casefold(): value for value, _ in choices
    }
    typed = text.casefold()
    if typed in by_words:
        return by_words[typed]
    labels = dict(choices)
    first_label = next(iter(labels.values()))
    matches = [by_words[words] for words in get_close_matches(typed, by_words)]
    matches = matches or [value for words, value in by_words.items() if typed in words][:3]
    meant = " or ".join(dict.fromkeys(f"“{labels[value]}”" for value in matches))
    hint = f"Did you mean {meant}?" if meant else f"Choose one, such as “{first_label}”."
    raise ValueError(f"“{shown(text)}” is not {noun}. {hint}")


def _parse_kind(text: str) -> str:
    choices = [(CHANGES, CHANGES_LABEL), *EventKind.choices]
    return _parse_choice(text, choices, noun="an event type")


def _parse_status(text: str) -> str:
    return _parse_choice(text, status_choices(), noun="a status")


def status_choices() -> list[tuple[str, str]]:
    """Return the values of the status filter with their labels, the group of failures first."""
    return [(NOT_CONFIRMED, NOT_CONFIRMED_LABEL), *status_labels.items()]


def _parse_request(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(f"“{shown(text)}” is not the ID of a request.") from None


def _parse_flag(text: str) -> bool:
    if text != "1":
        raise ValueError("must be 1, or left out.")
    return True


class Field(NamedTuple):
    """A field of the filter: its attribute, its label on the page, its parser.

    `recorded_as` is its name where an export records its filter. Names that an earlier version
    recorded for exact values keep that meaning.
    """

    attribute: str
    label: str
    parse: Callable[[str], Any]
    recorded_as: str


# By their names in a query string and on the command line, in reading order.
FIELDS: Final[Mapping[str, Field]] = {
    "from": Field("from_at", "From", _parse_time, "from"),
    "to": Field("to_at", "To", _parse_end, "to"),
    "exchange": Field("exchange", "Exchange", _parse_text, "exchange_contains"),
    "actor": Field("person", "User", _parse_text, "person_contains"),
    "kind": Field("kind", "Event type", _parse_kind, "kind"),
    "status": Field("status", "Status", _parse_status, "status"),
    "reject_reason": Field("reject_reason", "Reject reason", _parse_text, "reject_reason_contains"),
    "request": Field("request_id", "Request", _parse_request, "request_id"),
    "text": Field("text", "Search text", _parse_text, "text"),
    "unreviewed": Field("unreviewed", "Unreviewed only", _parse_flag, "unreviewed"),
}
