"""Describes an event in one short sentence, from its data alone.

The module `descriptions` of each package, imported at start, adds those of its own kinds. An event
of an unknown kind has no description, and one whose data is unusual still gets a sentence.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from killswitch.audit.event_reader import EventData, read
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.runtime.filter_values import InvalidFilter
from killswitch.runtime.text import pluralize_count, truncate

MAX_CHARS: Final = 300
MAX_LISTED: Final = 5
LABELS: Final = {
    "caveat": "known limits",
    "contact": "who to call",
    "emergency_phone": "emergency desk",
    "exchange_id": "exchange ID",
    "is_active": "can sign in",
    "member_ids": "member IDs",
    "session_ids": "session IDs",
}

Describe = Callable[[EventData], str]


def describe(event: AuditEvent) -> str:
    """Return what happened, in addition to the label of the event's kind; may be empty."""
    if event.kind not in descriptions:
        return ""
    sentence = descriptions[event.kind](read(event))
    return truncate(" ".join(sentence.split()), MAX_CHARS)


def describe_changes(data: EventData) -> str:
    """Describe an account or an exchange that was added or changed."""
    changes = []
    for name, pair in data.inner("changes").facts.items():
        before, after = pair if isinstance(pair, list) and len(pair) == 2 else (None, pair)
        label = LABELS.get(name, name.replace("_", " "))
        before_text = "" if before in (None, "") else f"{_value_text(name, before)} → "
        changes.append(f"{label} {before_text}{_value_text(name, after)}")
    subject = data.text("person") or data.text("name")
    if data.text("origin") == "configuration":
        return f"{subject and f'{subject}. '}Added from the configuration."
    sentence = ": ".join(filter(None, (subject, "; ".join(changes))))
    return f"{sentence}." if sentence else ""


def count_text(number: int | None, noun: str) -> str:
    """Return e.g. "3 events", and an empty text for an unknown number."""
    return "" if number is None else pluralize_count(number, noun)


def _value_text(column: str, value: Any) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | "":
            return "(empty)"
        case str() if column == "role":
            return value.replace("_", " ").capitalize()  # the label of every role
        case _:
            return str(value)


def _join(items: Sequence[object], *, separator: str) -> str:
    more = len(items) - MAX_LISTED
    return separator.join(map(str, items[:MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def _export_started(data: EventData) -> str:
    columns = data.inner("filter").facts
    try:
        selection = EventFilter.from_data(columns).describe()
    except InvalidFilter:
        selection = ", ".join(f"{column} {value}" for column, value in columns.items())
    layout = data.text("format")
    return f"{'CSV for reading' if layout == 'readable.csv' else layout.upper()}: {selection}."


def _export_completed(data: EventData) -> str:
    count = count_text(data.number("count"), "event") or "Some events"
    return f"{count}; the export started in event {data.text('export')}."


def _reviewed(data: EventData) -> str:
    seqs = data.numbers("events")
    sentence = f"Event{'s' if len(seqs) > 1 else ''} {_join(seqs, separator=', ')}." if seqs else ""
    if data.numbers("own"):
        sentence += " Includes the reviewer's own actions."
    note = data.text("note")
    return f"{sentence} “{note}”" if note else sentence


def _period_signed_off(data: EventData) -> str:
    count = data.inner("review").number("unreviewed")
    if count is None:
        return ""
    first, last = data.text("first_seq"), data.text("last_seq")
    return f"Events {first} to {last}; {count:,} not reviewed."


def _restored(data: EventData) -> str:
    lost, proven = data.number("lost_seq"), data.number("proven_seq")
    loss = f" Events after {proven}, up to {lost}, may be lost." if lost else ""
    reason = f" Reason: “{data.text('reason')}”" if data.text("reason") else ""
    return f"The log continues after event {data.text('restored_seq')}.{loss}{reason}"


descriptions: dict[str, Describe] = {
    EventKind.RESTORED: _restored,
    EventKind.GUARDS_PUT_BACK: (
        lambda data: f"Problems: {_join(data.items('found'), separator='; ')}."
    ),
    EventKind.EXPORTED: _export_started,
    EventKind.EXPORT_COMPLETED: _export_completed,
    EventKind.REVIEWED: _reviewed,
    EventKind.QUERIED: _reviewed,
    EventKind.QUERY_ANSWERED: _reviewed,
    EventKind.CLOSED: _reviewed,
    EventKind.PERIOD_SIGNED_OFF: _period_signed_off,
}
