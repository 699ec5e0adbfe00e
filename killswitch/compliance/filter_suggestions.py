"""The values in the log's columns, suggested in its filter.

Each value is looked up in the column's index from the one before. So the cost grows with the number
of values, not of events.
"""

from typing import Final

from django.db import connection

MAX_SUGGESTIONS: Final = 200  # of one column
TABLE: Final = "audit_auditevent"
COLUMNS: Final = ("actor", "exchange_id", "reject_reason", "status")


def suggestions() -> dict[str, list[str]]:
    """Return the values of each column, sorted, without any that has control characters."""
    values = {}
    with connection.cursor() as cursor:
        for column in COLUMNS:
            cursor.execute(
                f"WITH RECURSIVE suggestion(value) AS ("  # noqa: S608 - the names are constants
                f"SELECT min({column}) FROM {TABLE}"
                f" UNION ALL"
                f" SELECT (SELECT min({column}) FROM {TABLE} WHERE {column} > suggestion.value)"
                f" FROM suggestion WHERE suggestion.value IS NOT NULL)"
                f" SELECT value FROM suggestion WHERE value <> '' LIMIT {MAX_SUGGESTIONS}"
            )
            values[column] = [value for (value,) in cursor.fetchall() if value.isprintable()]
    return values
