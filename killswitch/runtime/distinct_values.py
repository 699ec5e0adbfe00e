"""Finds the distinct values of an indexed column.

Each value is looked up in the column's index from the one before. So the cost grows with the number
of values, not of rows.
"""

from django.db import connection
from django.db.models import Model


def distinct_values(model: type[Model], column: str, *, limit: int) -> list[str]:
    """Return up to so many values of the column in their order, without the empty one.

    The index may leave out the empty value, as `NOT (… = '')`: SQLite needs the same words.
    """
    table = model._meta.db_table
    not_empty = f"NOT ({column} = '')"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE found(value) AS ("  # noqa: S608 - the names are constants
            f"SELECT min({column}) FROM {table} WHERE {column} > '' AND {not_empty}"
            f" UNION ALL"
            f" SELECT (SELECT min({column}) FROM {table} WHERE {column} > found.value"
            f" AND {not_empty}) FROM found WHERE found.value IS NOT NULL)"
            f" SELECT value FROM found WHERE value IS NOT NULL LIMIT {int(limit)}"
        )
        return [value for (value,) in cursor.fetchall()]
