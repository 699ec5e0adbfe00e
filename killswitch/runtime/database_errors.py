"""Tells a database that cannot be used from a statement that is wrong."""

from django.db import DataError, Error, IntegrityError, NotSupportedError, ProgrammingError

# What a database that works says of a wrong statement. Any other error, such as that of a damaged
# file, means that it cannot be used.
DEFECTS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


def means_outage(error: BaseException | None) -> bool:
    """Return whether this error is one of a database that cannot be read or written."""
    return isinstance(error, Error) and not isinstance(error, DEFECTS)
