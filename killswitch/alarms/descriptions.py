"""Describes the events of alarms."""

from killswitch.audit.descriptions import descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind


def _raised(data: EventData) -> str:
    # The detail of a request's alarm goes on with facts that other events of the request carry.
    title, detail = data.text("title"), data.text("detail").partition("\n")[0]
    is_sentence = not title or title.endswith((".", "?", "!"))
    return f"{title}{'' if is_sentence or not detail else '.'} {detail}"


def _acknowledged(data: EventData) -> str:
    how = (
        " by the person concerned, after confirming their password, because no other risk officer"
        " exists"
        if data.is_true("by_person_concerned")
        else ""
    )
    note = data.text("note")
    return f"Alarm {data.text('alarm')} was acknowledged{how}.{f' Note: “{note}”' if note else ''}"


def _overdue(data: EventData) -> str:
    then = ""
    if place := data.text("place"):
        then = f"; channel {place} is being notified"
    elif data.is_true("escalates"):
        then = "; there is no further channel to notify"
    return f"Alarm {data.text('alarm')} was not acknowledged for {data.text('minutes')} min{then}."


descriptions |= {
    EventKind.ALARM_RAISED: _raised,
    EventKind.ALARM_TOLD: lambda data: (
        f"Alarm {data.text('alarm')} was sent to channel {data.text('place')}."
    ),
    EventKind.ALARM_ACKNOWLEDGED: _acknowledged,
    EventKind.ALARM_RESOLVED: lambda data: (
        f"Alarm {data.text('alarm')} resolved itself. {data.text('resolution')}"
    ),
    EventKind.ALARM_OVERDUE: _overdue,
}
