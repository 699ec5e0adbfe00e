"""Describes the start and the stop of the system."""

from killswitch.audit.descriptions import descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind
from killswitch.runtime.text import pluralize_count


def _started_or_stopped(data: EventData) -> str:
    programs = pluralize_count(len(data.items("programs")), "program")
    return f"{programs} on {data.text('host')}."


descriptions |= {
    EventKind.STARTED: _started_or_stopped,
    EventKind.STOPPED: _started_or_stopped,
}
