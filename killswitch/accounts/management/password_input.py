"""Reads the password for a command: from the environment, typed, or from standard input."""

import getpass
import os
import sys

from django.core.exceptions import ValidationError

VARIABLE = "KILLSWITCH_PASSWORD"


def read_password() -> str:
    """Return the password. Raises `ValidationError` if it is missing or cannot be typed again."""
    password = os.environ.get(VARIABLE, "")
    if not password and sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    elif not password:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ValidationError(
            f"no password was given. Set {VARIABLE} or send one line to standard input."
        )
    if not password.isprintable():
        raise ValidationError(
            "the password contains control characters, or bytes that are not UTF-8."
        )
    return password
