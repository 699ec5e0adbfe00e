"""Describes the events of exchanges."""

from killswitch.audit.descriptions import describe_changes, descriptions
from killswitch.audit.models import Kind

descriptions |= dict.fromkeys((Kind.EXCHANGE_ADDED, Kind.EXCHANGE_CHANGED), describe_changes)
