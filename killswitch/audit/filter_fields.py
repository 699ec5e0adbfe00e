"""The fields of the log's filter: how each is called, and how what was typed becomes a value."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from killswitch.audit.event_kinds import EventKind
from killswitch.runtime.days import EMPTY_RANGE, begin_of, end_of, parse_day
from killswitch.runtime.filter_values import Field, parse_choice, parse_text
from killswitch.runtime.text import quoted

DAY_CHARS: Final = len("2026-11-28")  # a longer text is a time
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


def _parse_start(text: str) -> datetime:
    return begin_of(parse_day(text)) if len(text) <= DAY_CHARS else _parse_time(text)


def _parse_end(text: str) -> datetime:
    """Return the end of a range, which begins before it. A day is included."""
    at = end_of(parse_day(text)) if len(text) <= DAY_CHARS else _parse_time(text)
    if at == datetime.min.replace(tzinfo=UTC):
        raise ValueError(EMPTY_RANGE)
    return at


def _parse_time(text: str) -> datetime:
    """Return a moment, in UTC unless it has an offset."""
    try:
        at = datetime.fromisoformat(text)
        # An unescaped plus sign in an address arrives as a space, and is refused here.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        example = "2026-11-28T08:30:00.5"
        raise ValueError(f"{quoted(text)} is not a time. Write it as {example} (UTC).") from None


def _parse_kind(text: str) -> str:
    choices = [(CHANGES, CHANGES_LABEL), *EventKind.choices]
    return parse_choice(text, choices, noun="an event type")


def _parse_status(text: str) -> str:
    return parse_choice(text, status_choices(), noun="a status")


def status_choices() -> list[tuple[str, str]]:
    """Return the values of the status filter with their labels, the group of failures first."""
    return [(NOT_CONFIRMED, NOT_CONFIRMED_LABEL), *status_labels.items()]


def _parse_request(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(f"{quoted(text)} is not the ID of a request.") from None


def _parse_flag(text: str) -> bool:
    if text != "1":
        raise ValueError("Use 1, or leave it out.")
    return True


@dataclass(frozen=True)
class LogField(Field):
    """A field with its name where an export records its filter.

    Names that an earlier version recorded for exact values keep that meaning.
    """

    recorded_as: str


# By their names in a query string and on the command line, in reading order.
FIELDS: Final[Mapping[str, LogField]] = {
    "from": LogField("from_at", "From", _parse_start, "from"),
    "to": LogField("to_at", "To", _parse_end, "to"),
    "exchange": LogField("exchange", "Exchange", parse_text, "exchange_contains"),
    "actor": LogField("person", "User", parse_text, "person_contains"),
    "kind": LogField("kind", "Event type", _parse_kind, "kind"),
    "status": LogField("status", "Status", _parse_status, "status"),
    "reject_reason": LogField(
        "reject_reason", "Reject reason", parse_text, "reject_reason_contains"
    ),
    "request": LogField("request_id", "Request", _parse_request, "request_id"),
    "text": LogField("text", "Search text", parse_text, "text"),
    "unreviewed": LogField("unreviewed", "Unreviewed only", _parse_flag, "unreviewed"),
}
