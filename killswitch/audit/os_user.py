"""Names the operating system's user that runs a command, as the audit log does."""

import os
import pwd

from killswitch.audit.chain import Actor


def command_line_actor() -> Actor:
    """Return the actor by user id: the environment could be set to any name."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = str(os.getuid())  # a user of a container may have no name
    return Actor(name=f"os:{login}", role="OPERATING_SYSTEM")
