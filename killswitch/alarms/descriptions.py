"""Describes the events of alarms."""

from killswitch.audit.descriptions import descriptions
from killswitch.audit.event_reader import EventData
from killswitch.audit.models import EventKind


def _raised(data: EventData) -> str:
    # The detail of a request's alarm goes on with facts that other events of the request carry.
    title, detail = data.text("title"), data.text("detail").partition("\n")[0]
    is_sentence = not title or title.endswith((".", "?", "!"))
    return f"{title}{'' if is_sentence or not detail else '.'} {detail}"


descriptions |= {
    EventKind.ALARM_RAISED: _raised,
    EventKind.ALARM_TOLD: lambda data: (
        f"Alarm {data.text('alarm')} was sent to channel {data.text('place')}."
    ),
    EventKind.ALARM_ACKNOWLEDGED: lambda data: f"Alarm {data.text('alarm')} was acknowledged.",
}
