"""Describes the events of exchanges."""

from killswitch.audit.descriptions import Describe, describe_changes
from killswitch.audit.models import Kind

DESCRIPTIONS: dict[Kind, Describe] = {
    Kind.EXCHANGE_ADDED: describe_changes,
    Kind.EXCHANGE_CHANGED: describe_changes,
}
