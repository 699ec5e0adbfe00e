"""Who acts: the log stores an actor as text, and pages name it in words. Reads no database."""

import os
import pwd
from dataclasses import dataclass
from typing import Final

SYSTEM_NAMES: Final = {"system": "System", "anonymous": "Not signed in"}


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A person or program as text, so that the log needs no table of people."""

    name: str
    role: str = ""


SYSTEM = Actor(name="system")


def command_line_actor() -> Actor:
    """Return the user of the operating system that runs a command.

    By user id: the environment could be set to any name.
    """
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = str(os.getuid())  # a user of a container may have no name
    return Actor(name=f"os:{login}", role="OPERATING_SYSTEM")


def actor_name(actor: str) -> str:
    """Return an actor in words, e.g. "Command line (root)" for the `os:root` of the log."""
    if actor.startswith("os:") and " (" not in actor:  # a user may be called so as well
        return f"Command line ({actor.removeprefix('os:')})"
    return SYSTEM_NAMES.get(actor, actor)


def is_user(actor: str, username: str) -> bool:
    """Return whether an actor of the log is this user, under any full name."""
    return actor == username or actor.endswith(f" ({username})")
