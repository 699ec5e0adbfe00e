"""Describes an event in one short sentence, from its data alone.

Each room registers the descriptions of the kinds that it records. An event whose kind is unknown
here has no description, and one whose data is unusual still gets a sentence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from killswitch.audit.event_data import EventData, read
from killswitch.audit.models import AuditEvent, Kind
from killswitch.runtime.text import pluralize_count, truncate

MAX_CHARS: Final = 300
MAX_LISTED: Final = 5

Describe = Callable[[EventData], str]


def describe(event: AuditEvent) -> str:
    """Return what happened, in addition to the label of the event's kind; may be empty."""
    if event.kind not in descriptions:
        return ""
    sentence = descriptions[event.kind](read(event))
    return truncate(" ".join(sentence.split()), MAX_CHARS)


def register(new_descriptions: Mapping[Kind, Describe]) -> None:
    """Add the descriptions of a room; called when Django has loaded it."""
    for kind, description in new_descriptions.items():
        descriptions[kind] = description


def describe_changes(data: EventData) -> str:
    """Describe an account or an exchange that was added or changed."""
    person = data.text("person")
    changes = "; ".join(_change(name, pair) for name, pair in data.inner("changes").facts.items())
    if person and changes:
        return f"{person}: {changes}."
    return f"{person or changes or data.text('name')}."


def count_text(number: int | None, noun: str) -> str:
    """Return e.g. "3 events", and an empty text for an unknown number."""
    return "" if number is None else pluralize_count(number, noun)


def _change(name: str, pair: Any) -> str:
    before, after = pair if isinstance(pair, list) and len(pair) == 2 else (None, pair)
    label = name.replace("_", " ")
    if before in (None, ""):
        return f"{label} {_value_text(after)}"
    return f"{label} {_value_text(before)} → {_value_text(after)}"


def _value_text(value: Any) -> str:
    match value:
        case True | False:
            return "yes" if value else "no"
        case None | "":
            return "(empty)"
        case _:
            return str(value)


def _join(items: Sequence[object], *, separator: str) -> str:
    more = len(items) - MAX_LISTED
    return separator.join(map(str, items[:MAX_LISTED])) + (f" and {more} more" if more > 0 else "")


def _export_started(data: EventData) -> str:
    filters = ", ".join(f"{name} {value}" for name, value in data.inner("filter").facts.items())
    return f"{data.text('format').upper()}: {filters or 'the whole log'}."


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
    unreviewed = data.inner("review").number("unreviewed")
    if unreviewed is None:
        return ""
    first, last = data.text("first_seq"), data.text("last_seq")
    return f"Events {first} to {last}; {unreviewed:,} not reviewed."


descriptions: dict[str, Describe] = {
    Kind.GUARDS_PUT_BACK: (lambda data: f"Problems: {_join(data.items('found'), separator='; ')}."),
    Kind.EXPORTED: _export_started,
    Kind.EXPORT_COMPLETED: _export_completed,
    Kind.REVIEWED: _reviewed,
    Kind.QUERIED: _reviewed,
    Kind.CLOSED: _reviewed,
    Kind.PERIOD_SIGNED_OFF: _period_signed_off,
}
