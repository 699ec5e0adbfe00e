"""Tells whether the process that carries a press out is still alive, by a lock that it holds."""

import os
import secrets
from functools import cache
from pathlib import Path

import structlog

from killswitch.runtime.files import OWNER_ONLY, lock_file

PREFIX = "break_glass_holder."

log = structlog.get_logger(__name__)


@cache
def own_name(home: Path) -> str:
    """Return the name under which this process holds a lock until it ends; "" if it holds none."""
    name = secrets.token_hex(8)
    try:
        path = home / f"{PREFIX}{name}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
        return name if lock_file(handle) else ""
    except OSError as error:  # the presses of this process count as running until their time is up
        log.warning("holder_not_locked", error=error.strerror or str(error))
        return ""


def is_alive(home: Path, name: str) -> bool:
    """Return False if the process that took this name is known to have ended; its file is deleted.

    A file that cannot be read says nothing: then it may be alive.
    """
    path = home / f"{PREFIX}{name}"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            is_free = lock_file(handle)
        finally:
            os.close(handle)
        if is_free:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return not is_free
