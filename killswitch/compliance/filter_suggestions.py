"""The values that stand in the log's columns, for the lists of its filter.

Each value is looked up in the column's index from the one before, which costs as much as there
are values, and not as many as there are events.
"""

from typing import Final

from django.db import connection

MAX_SUGGESTIONS: Final = 200  # values of a column
TABLE: Final = "audit_auditevent"
COLUMNS: Final = ("actor", "exchange_id", "reject_reason", "status")


def suggestions() -> dict[str, list[str]]:
    """The values of each column, in their order; none that could act on a screen."""
    return {column: _values(column) for column in COLUMNS}


def _values(column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE known(value) AS ("  # noqa: S608 - the names are constants
            f"SELECT min({column}) FROM {TABLE}"
            f" UNION ALL SELECT (SELECT min({column}) FROM {TABLE} WHERE {column} > known.value)"
            f" FROM known WHERE known.value IS NOT NULL)"
            f" SELECT value FROM known WHERE value <> '' LIMIT {MAX_SUGGESTIONS}"
        )
        return [value for (value,) in cursor.fetchall() if value.isprintable()]
