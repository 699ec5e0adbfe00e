"""Changes of a user, as events for the audit log and as text for the alarm."""

from collections.abc import Mapping
from dataclasses import dataclass

from killswitch.accounts.models import User, role_label
from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import EventKind

WATCHED = ("username", "full_name", "is_active", "role", "must_change_password")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A user before and after a change; `before` is None for a new user.

    `second_factor_reset` is set when an administrator removed a second factor that existed.
    """

    before: User | None
    after: User
    new_password: bool
    second_factor_reset: bool = False

    @property
    def fields(self) -> list[str]:
        """Return the watched columns that differ, all of them for a new user."""
        if self.before is None:
            return list(WATCHED)
        return [name for name in WATCHED if getattr(self.before, name) != getattr(self.after, name)]

    @property
    def ends_sessions(self) -> bool:
        """Return whether the user must sign in again after this change."""
        new_secret = self.new_password or self.second_factor_reset
        return new_secret or bool({"role", "is_active"} & set(self.fields))

    def new_events(self, *, by: Actor, origin: Mapping[str, str]) -> list[NewEvent]:
        """Return one event for each kind of change, none without a change."""
        fields = self.fields
        if self.before is None:
            changes = [(EventKind.PERSON_ADDED, fields)]
        else:
            # Whether the password must be changed belongs to the event of a new password.
            apart = {"role", "must_change_password"} if self.new_password else {"role"}
            profile = [name for name in fields if name not in apart]
            changes = [(EventKind.PERSON_CHANGED, profile)] if profile else []
            if "role" in fields:
                changes.append((EventKind.ROLE_CHANGED, ["role"]))
            # No event carries a password or a second factor.
            if self.new_password:
                forced = [name for name in fields if name == "must_change_password"]
                changes.append((EventKind.PASSWORD_CHANGED, forced))
            if self.second_factor_reset:
                changes.append((EventKind.SECOND_FACTOR_RESET, []))
        identity = {"person": self.after.full_text, "username": self.after.username}
        return [
            NewEvent(
                kind=kind,
                actor=by,
                data={
                    **identity,
                    "changes": {
                        name: [getattr(self.before, name, None), getattr(self.after, name)]
                        for name in names
                    },
                    **origin,
                },
            )
            for kind, names in changes
        ]

    def alarm_text(self) -> str:
        """Return the changes that gave or took access, empty without any."""
        role = role_label(self.after.role)
        if self.before is None:
            return f"was added as {role}"
        texts = []
        if "role" in self.fields:
            texts.append(f"was made {role}")
        if "is_active" in self.fields:
            texts.append("was enabled again" if self.after.is_active else "was disabled")
        if self.new_password:
            texts.append("was given a new password")
        if self.second_factor_reset:
            texts.append("had their second factor reset")
        return " and ".join(texts)


def actor_text(actor: Actor) -> str:
    """Return an actor for the title of an alarm, e.g. `root (command line)` for `os:root`."""
    if actor.role == "OPERATING_SYSTEM":
        return f"{actor.name.removeprefix('os:')} (command line)"
    return actor.name
