"""Describes the events of break glass."""

from killswitch.audit.descriptions import count_text, descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind


def _recorded(data: EventData) -> str:
    faults = " ".join(text for text in data.items("faults") if isinstance(text, str))
    missing = " ".join(text for text in data.items("not_recorded") if isinstance(text, str))
    return (
        f"Cancel {data.text('press')}: {count_text(data.number('requests'), 'request')}, taken from"
        f" the journal of host {data.text('host')}, lines {data.text('first_line')} to"
        f" {data.text('last_line')}."
        f"{f' {missing}' if missing else ''}"
        f"{f' The journal was changed: {faults}' if faults else ''}"
    )


def _telephoned(data: EventData) -> str:
    reference, note = data.text("reference"), data.text("note")
    return (
        f"At {data.text('telephoned_at')[:16].replace('T', ' ')} UTC, spoke to"
        f" {data.text('spoke_to')}. Reference: {reference or 'none given'}."
        f"{f' Note: “{note}”' if note else ''}"
    )


descriptions |= {
    EventKind.BREAK_GLASS_RECORDED: _recorded,
    EventKind.TELEPHONED: _telephoned,
}
