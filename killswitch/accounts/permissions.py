"""Which role may do what: one table that every entrance checks."""

from enum import StrEnum
from typing import Final

from killswitch.accounts.models import Role, User


class Permission(StrEnum):
    """What a view lets a user do."""

    CONSOLE = "CONSOLE"
    CANCEL = "CANCEL"
    REQUESTS = "REQUESTS"
    ACKNOWLEDGE = "ACKNOWLEDGE"
    COMPLETE_REASON = "COMPLETE_REASON"
    AUDIT = "AUDIT"
    EXPORT = "EXPORT"
    REVIEW = "REVIEW"
    ADMINISTER = "ADMINISTER"


# The marks of views that need no permission of the table.
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
    """Return whether an active user's role has the permission; False for anyone else."""
    return (
        isinstance(user, User)
        and user.is_active
        and permission in ROLE_PERMISSIONS.get(Role(user.role), set())
    )


def allows(user: User, permission: str) -> bool:
    """Return whether a view with this mark is open to the user."""
    if permission in {PUBLIC, SIGNED_IN}:
        return permission == PUBLIC or user.is_active
    return has_permission(user, Permission(permission))
