"""Queries that are compiled once: for a query by key, Django's compiler costs ten times the query.

For what every poll reads. A query that depends on more than the values of its parameters cannot be
compiled once.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet


class CompiledQuery:
    """The rows of a query whose parameters are given anew for each execution."""

    def __init__(self, build: Callable[[], QuerySet[Any, tuple[Any, ...]]]) -> None:
        """Take a function that returns the query, with any values for its parameters."""
        self._build = build
        self._compiled: dict[str, tuple[str, dict[int, Any]]] = {}  # by the kind of the database

    def rows(self, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows for these parameters, in the order in which the SQL has them."""
        if connection.vendor not in self._compiled:
            self._compiled[connection.vendor] = self._compile(len(parameters))
        sql, converters = self._compiled[connection.vendor]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            fetched = cursor.fetchall()
        for row in fetched:
            values = list(row)
            for position, (functions, expression) in converters.items():
                for convert in functions:
                    values[position] = convert(values[position], expression, connection)
            yield tuple(values)

    def first(self, *parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row, None without any."""
        return next(self.rows(*parameters), None)

    def _compile(self, parameter_count: int) -> tuple[str, dict[int, Any]]:
        compiler: Any = self._build().query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        if len(parameters) != parameter_count:
            raise TypeError(f"the query has {len(parameters)} parameters, not {parameter_count}")
        return sql, compiler.get_converters([column for column, *_ in compiler.select])
