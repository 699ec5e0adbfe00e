"""Queries that are compiled once: for a query by key, Django's compiler costs ten times the query.

For what every poll and every console reads. A query that depends on more than the values of its
parameters cannot be compiled once.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.query import get_related_populators

# Stands for a parameter while the query is compiled: a number that every column can have, and that
# no query contains otherwise.
_FIRST_SAMPLE = 2_098_763_000


class CompiledQuery:
    """A query whose parameters are given anew for each execution."""

    def __init__(self, build: Callable[..., QuerySet[Any, Any]], *, parameters: int = 0) -> None:
        """Take a function that returns the query for so many values, which it only compares."""
        self._build = build
        self._parameters = parameters
        self._by_vendor: dict[str, _Compiled] = {}  # by the kind of the database

    def rows(self, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows for these parameters, of a query for values."""
        for row in self._compiled(parameters).fetch(parameters):
            yield tuple(row)

    def first(self, *parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row, None without any."""
        return next(self.rows(*parameters), None)

    def objects(self, *parameters: Any) -> Iterator[Any]:
        """Yield the objects for these parameters, of a query for objects."""
        compiled = self._compiled(parameters)
        for row in compiled.fetch(parameters):
            yield compiled.to_object(row)

    def _compiled(self, parameters: tuple[Any, ...]) -> "_Compiled":
        if len(parameters) != self._parameters:
            raise TypeError(f"the query has {self._parameters} parameters, not {len(parameters)}")
        if connection.vendor not in self._by_vendor:
            self._by_vendor[connection.vendor] = _Compiled(self._build, parameters=self._parameters)
        return self._by_vendor[connection.vendor]


class _Compiled:
    """The SQL of a query for one kind of database, and how its rows are read."""

    def __init__(self, build: Callable[..., QuerySet[Any, Any]], *, parameters: int) -> None:
        samples = range(_FIRST_SAMPLE, _FIRST_SAMPLE + parameters)
        compiler: Any = build(*samples).query.get_compiler(connection=connection)
        self._sql, values = compiler.as_sql()
        # A column may have made a text of its sample.
        positions = {str(sample): position for position, sample in enumerate(samples)}
        self._values = [(value, positions.get(str(value))) for value in values]
        used = {position for _, position in self._values if position is not None}
        if len(used) < parameters:
            raise TypeError(f"the query compares {len(used)} of its {parameters} parameters")
        columns = [column for column, *_ in compiler.select]
        self._converters = [
            (position, convert, expression)
            for position, (functions, expression) in compiler.get_converters(columns).items()
            for convert in functions
        ]
        if compiler.klass_info:  # a query for objects; what follows is Django's `ModelIterable`
            self._model: Any = compiler.klass_info["model"]
            fields = compiler.klass_info["select_fields"]
            self._fields = slice(fields[0], fields[-1] + 1)
            self._names = [column.target.attname for column in columns[self._fields]]
            populators: Any = get_related_populators  # the stubs know Django 6 only
            self._related = populators(compiler.klass_info, compiler.select, connection.alias)
            self._annotations = compiler.annotation_col_map.items()

    def fetch(self, parameters: tuple[Any, ...]) -> Iterator[list[Any]]:
        values = [
            value if position is None else parameters[position] for value, position in self._values
        ]
        with connection.cursor() as cursor:
            cursor.execute(self._sql, values)
            fetched = cursor.fetchall()
        for row in fetched:
            converted = list(row)
            for position, convert, expression in self._converters:
                converted[position] = convert(converted[position], expression, connection)
            yield converted

    def to_object(self, row: list[Any]) -> Any:
        item = self._model.from_db(connection.alias, self._names, row[self._fields])
        for populator in self._related:
            populator.populate(row, item)
        for name, position in self._annotations:
            setattr(item, name, row[position])
        return item
