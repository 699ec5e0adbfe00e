"""Which role may do what: one table that every entrance checks."""

from enum import StrEnum
from typing import Final

from killswitch.accounts.models import Role, User


class Permission(StrEnum):
    """What a view lets a user do."""

    PUBLIC = "PUBLIC"  # for visitors who have not signed in as well
    SIGNED_IN = "SIGNED_IN"
    CONSOLE = "CONSOLE"
    CANCEL = "CANCEL"
    HOLD = "HOLD"  # start a Hold, and release one
    REQUESTS = "REQUESTS"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    COMPLETE_REASON = "COMPLETE_REASON"
    AUDIT = "AUDIT"
    EXPORT = "EXPORT"
    REVIEW = "REVIEW"
    TELEPHONED = "TELEPHONED"  # record a call to an exchange
    ADMINISTER = "ADMINISTER"


ROLES: Final[dict[Permission, frozenset[Role]]] = {
    Permission.PUBLIC: frozenset(Role),
    Permission.SIGNED_IN: frozenset(Role),
    Permission.CONSOLE: frozenset({Role.RISK_OFFICER, Role.COMPLIANCE}),
    Permission.CANCEL: frozenset({Role.RISK_OFFICER}),
    Permission.HOLD: frozenset({Role.RISK_OFFICER}),
    Permission.REQUESTS: frozenset({Role.RISK_OFFICER, Role.COMPLIANCE}),
    Permission.ACKNOWLEDGE: frozenset({Role.RISK_OFFICER}),
    Permission.COMPLETE_REASON: frozenset({Role.RISK_OFFICER}),
    Permission.AUDIT: frozenset({Role.COMPLIANCE}),
    Permission.EXPORT: frozenset({Role.COMPLIANCE}),
    Permission.REVIEW: frozenset({Role.COMPLIANCE}),
    Permission.TELEPHONED: frozenset({Role.RISK_OFFICER}),
    Permission.ADMINISTER: frozenset({Role.ADMINISTRATOR}),
}


def has_permission(user: object, permission: Permission) -> bool:
    """Return whether an active user's role has the permission; False for anyone else."""
    return isinstance(user, User) and user.is_active and user.role in ROLES[permission]
