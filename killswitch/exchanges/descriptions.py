"""Describes the events of exchanges."""

from killswitch.audit.descriptions import describe_changes, descriptions
from killswitch.audit.models import EventKind

descriptions |= dict.fromkeys(
    (EventKind.EXCHANGE_ADDED, EventKind.EXCHANGE_CHANGED), describe_changes
)
