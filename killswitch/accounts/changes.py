"""What changed about a person, as events for the log and as words for the alarm."""

from collections.abc import Mapping
from dataclasses import dataclass

from killswitch.accounts.models import Role, User
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.models import Kind

DESCRIBED = ("username", "full_name", "is_active")
WATCHED = (*DESCRIBED, "role")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A person before and after; `before` is None for somebody new.

    `second_factor_reset` says that they had one, and that somebody else took it away.
    """

    before: User | None
    after: User
    new_password: bool
    second_factor_reset: bool = False

    @property
    def fields(self) -> list[str]:
        """The columns that differ."""
        if self.before is None:
            return list(WATCHED)
        return [name for name in WATCHED if getattr(self.before, name) != getattr(self.after, name)]

    @property
    def ends_sessions(self) -> bool:
        given = self.new_password or self.second_factor_reset
        return given or bool({"role", "is_active"} & set(self.fields))

    def facts(self, *, by: Actor, origin: Mapping[str, str]) -> list[NewEvent]:
        """One event for each kind of change, none if nothing changed."""
        kinds = {kind: names for kind, names in self._kinds().items() if names}
        return [
            NewEvent(kind=kind, actor=by, data={**self._data(names), **origin})
            for kind, names in kinds.items()
        ]

    def alarming(self) -> str:
        """What gave somebody power or took it from them, in words; nothing if nothing did."""
        words = []
        if self.before is None or "role" in self.fields:
            words.append(f"was given the role {Role(self.after.role).label}")
        if self.before is not None and "is_active" in self.fields:
            again = self.after.is_active
            words.append("may sign in again" if again else "may not sign in any more")
        if self.before is not None and self.new_password:
            words.append("was given a new password")
        if self.second_factor_reset:
            words.append("had their second factor reset")
        return " and ".join(words)

    def _kinds(self) -> dict[Kind, list[str]]:
        if self.before is None:
            return {Kind.PERSON_ADDED: self.fields}
        return {
            Kind.PERSON_CHANGED: [name for name in self.fields if name in DESCRIBED],
            Kind.ROLE_CHANGED: [name for name in self.fields if name == "role"],
            Kind.PASSWORD_CHANGED: ["password"] if self.new_password else [],
            Kind.SECOND_FACTOR_RESET: ["second_factor"] if self.second_factor_reset else [],
        }

    def _data(self, names: list[str]) -> dict[str, object]:
        shown = [name for name in names if name in WATCHED]  # a password never is
        return {
            "person": self.after.full_text,
            "username": self.after.username,
            "changes": {
                name: [
                    getattr(self.before, name) if self.before else None,
                    getattr(self.after, name),
                ]
                for name in shown
            },
        }
