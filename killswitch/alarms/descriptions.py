"""Describes the events of alarms."""

from killswitch.audit.descriptions import Describe
from killswitch.audit.models import Kind

DESCRIPTIONS: dict[Kind, Describe] = {
    Kind.ALARM_RAISED: lambda data: f"{data.text('title')} {data.text('detail')}",
    Kind.ALARM_TOLD: lambda data: f"Alarm {data.text('alarm')} was sent to {data.text('place')}.",
    Kind.ALARM_ACKNOWLEDGED: lambda data: f"Alarm {data.text('alarm')}.",
}
