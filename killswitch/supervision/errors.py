"""What keeps the system from starting, as one sentence for the person who tried."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


class CannotStart(ImproperlyConfigured):
    """Ends the command with this sentence and without a traceback."""


@contextmanager
def naming_file_errors(path: Path) -> Iterator[None]:
    """Whatever fails within is told as something wrong with this file of KILLSWITCH_HOME."""
    try:
        yield
    except OSError as error:
        raise CannotStart(
            f"KILLSWITCH_HOME: {error.filename or path} cannot be used ({error.strerror or error})."
            " Make room there, let this user write to it, or name another directory."
        ) from None
