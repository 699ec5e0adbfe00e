"""How a database would find the rows of a query."""

from typing import Any

from django.db import connection
from django.db.models import QuerySet


def plan(rows: QuerySet[Any, Any]) -> str:
    """Return the plan; PostgreSQL's as for a table that is too long to be read as a whole."""
    if connection.vendor == "sqlite":
        return rows.explain()
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        text = rows.explain()
        cursor.execute("SET LOCAL enable_seqscan = on")
        cursor.execute("SET LOCAL enable_sort = on")
    return text
