"""Used by the commands for users: the password, and errors as sentences."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError

from killswitch import env

VARIABLE = "KILLSWITCH_PASSWORD"
REFUSED = 2


@contextmanager
def refusing(outcome: str) -> Iterator[None]:
    """Raise errors as `CommandError` with exit code 2: the outcome, such as "No user was added"."""
    try:
        yield
    except ValidationError as error:
        reason = " ".join(error.messages)
        raise CommandError(f"{outcome}: {reason}", returncode=REFUSED) from None
    except ImproperlyConfigured as error:
        raise CommandError(f"{outcome}: {error}", returncode=REFUSED) from None
    except DatabaseError as error:
        reason = f"database error ({error}). Run `manage.py prepare` first."
        raise CommandError(f"{outcome}: {reason}", returncode=REFUSED) from None


def read_password() -> str:
    """Return the password, from the environment or a file, typed, or from standard input.

    Raises `ValidationError` if it is missing or cannot be typed again, and `ImproperlyConfigured`
    if its file cannot be used.
    """
    password = env.secret(VARIABLE)
    if not password and sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    elif not password:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise ValidationError(
            f"no password was given. Set {VARIABLE} or {VARIABLE}_FILE, or send one line to"
            " standard input."
        )
    if not password.isprintable():
        raise ValidationError(
            "the password contains control characters, or bytes that are not UTF-8."
        )
    return password
