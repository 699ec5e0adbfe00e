"""A password for a command: from the environment, typed, or from one line of standard input."""

import getpass
import os
import sys

from django.core.exceptions import ValidationError

VARIABLE = "KILLSWITCH_PASSWORD"


def given() -> str:
    """Raises `ValidationError` when there is none, or one that nobody could type again."""
    password = _asked_for()
    if not password:
        raise ValidationError(
            f"there is no password. Set {VARIABLE}, or give one line on standard input."
        )
    if not password.isprintable():
        raise ValidationError("the password holds control characters, or bytes that are not UTF-8.")
    return password


def _asked_for() -> str:
    if password := os.environ.get(VARIABLE, ""):
        return password
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\r\n")
