"""Names actors in words; the log stores an actor as text."""

from typing import Final

SYSTEM_NAMES: Final = {"system": "System", "anonymous": "Not signed in"}


def actor_name(actor: str) -> str:
    """Return an actor in words, e.g. "Command line (root)" for the `os:root` of the log."""
    if actor.startswith("os:") and " (" not in actor:  # a user may be called so as well
        return f"Command line ({actor.removeprefix('os:')})"
    return SYSTEM_NAMES.get(actor, actor)


def is_user(actor: str, username: str) -> bool:
    """Return whether an actor of the log is this user, under any full name."""
    return actor == username or actor.endswith(f" ({username})")
