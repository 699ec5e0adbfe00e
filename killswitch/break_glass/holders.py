"""Tells whether the process that carries a press out is still alive, by a lock that it holds."""

import os
import secrets
from functools import cache
from pathlib import Path

from killswitch.runtime.files import OWNER_ONLY, lock_file

PREFIX = "break_glass_holder."


@cache
def own_name(home: Path) -> str:
    """Return the name under which this process holds a lock until it ends; "" if it holds none."""
    name = secrets.token_hex(8)
    try:
        path = home / f"{PREFIX}{name}"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY)
        return name if lock_file(handle) else ""
    except OSError:
        return ""


def is_alive(home: Path, name: str) -> bool:
    """Return whether the process that took this name still runs; if not, its file is deleted."""
    path = home / f"{PREFIX}{name}"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        is_free = lock_file(handle)
        if is_free:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)
    return not is_free
