"""Who gives commands at the machine itself, as the audit log names them."""

import os
import pwd

from killswitch.audit.chain import Actor


def command_line_actor() -> Actor:
    """By the user id and not by the environment, which anybody can set."""
    try:
        login = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        login = str(os.getuid())  # a container's user may have no name
    return Actor(name=f"os:{login}", role="OPERATING_SYSTEM")
