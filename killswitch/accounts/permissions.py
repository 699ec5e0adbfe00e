"""Who may do what: one table, asked by every entrance."""

from enum import StrEnum
from typing import Final

from killswitch.accounts.models import Role, User


class Permission(StrEnum):
    """What a view lets a person do."""

    CONSOLE = "CONSOLE"
    CANCEL = "CANCEL"
    REQUESTS = "REQUESTS"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    COMPLETE_REASON = "COMPLETE_REASON"
    AUDIT = "AUDIT"
    EXPORT = "EXPORT"
    REVIEW = "REVIEW"
    ADMINISTER = "ADMINISTER"


# What a view says of itself when it needs no permission of the table.
PUBLIC: Final = "PUBLIC"
SIGNED_IN: Final = "SIGNED_IN"

ROLE_PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    Role.RISK_OFFICER: frozenset(
        {
            Permission.CONSOLE,
            Permission.CANCEL,
            Permission.REQUESTS,
            Permission.ACKNOWLEDGE,
            Permission.COMPLETE_REASON,
        }
    ),
    Role.COMPLIANCE: frozenset(
        {
            Permission.CONSOLE,
            Permission.REQUESTS,
            Permission.AUDIT,
            Permission.EXPORT,
            Permission.REVIEW,
        }
    ),
    Role.ADMINISTRATOR: frozenset({Permission.ADMINISTER}),
}


def has_permission(user: object, permission: Permission) -> bool:
    """Whether this person may. Nobody who is switched off or not signed in may do anything."""
    return (
        isinstance(user, User)
        and user.is_active
        and permission in ROLE_PERMISSIONS.get(Role(user.role), set())
    )


def allows(user: User, permission: str) -> bool:
    """The same for what a view says of itself, which may be PUBLIC or SIGNED_IN."""
    if permission in {PUBLIC, SIGNED_IN}:
        return permission == PUBLIC or user.is_active
    return has_permission(user, Permission(permission))
