"""Describes the events of alarms."""

from killswitch.audit.descriptions import Describe
from killswitch.audit.event_data import EventData
from killswitch.audit.models import Kind


def _raised(data: EventData) -> str:
    return f"{data.text('title')} {data.text('detail')}"


def _delivered(data: EventData) -> str:
    return f"Alarm {data.text('alarm')} was sent to {data.text('place')}."


def _acknowledged(data: EventData) -> str:
    return f"Alarm {data.text('alarm')}."


DESCRIPTIONS: dict[Kind, Describe] = {
    Kind.ALARM_RAISED: _raised,
    Kind.ALARM_TOLD: _delivered,
    Kind.ALARM_ACKNOWLEDGED: _acknowledged,
}
