"""Queries that are compiled once: for a query by key, Django's compiler costs ten times the query.

For what every poll and every console reads. A query that depends on more than the values of its
parameters cannot be compiled once.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from operator import itemgetter
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.base import ModelState

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
        """Yield the objects for these parameters, of a query for objects. They are for reading."""
        compiled = self._compiled(parameters)
        yield from compiled.to_objects(compiled.fetch(parameters))

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
        self._columns = columns = [column for column, *_ in compiler.select]
        self._converters = [
            (position, convert, expression)
            for position, (functions, expression) in compiler.get_converters(columns).items()
            for convert in functions
        ]
        self._klass_info = compiler.klass_info
        self._annotations = compiler.annotation_col_map

    @cached_property
    def _table(self) -> "_Table":
        return _Table(self._klass_info, self._columns)

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

    def to_objects(self, rows: Iterator[list[Any]]) -> Iterator[Any]:
        related: dict[Any, Any] = {}
        for row in rows:
            item = self._table.to_object(row, related)
            for name, position in self._annotations.items():
                setattr(item, name, row[position])
            yield item


class _Table:
    """Makes the objects of one table, as Django's `ModelIterable`, at a third of its cost.

    They get neither the signals nor the checks of `Model.__init__`, and rows share their related
    objects.
    """

    def __init__(self, klass_info: dict[str, Any], columns: list[Any]) -> None:
        self._model: Any = klass_info["model"]
        positions = klass_info["select_fields"]
        self._names = [columns[position].target.attname for position in positions]
        self._values = itemgetter(*positions)
        self._pk = positions[self._names.index(self._model._meta.pk.attname)]
        self._related = [
            (_Table(info, columns), info["local_setter"])
            for info in klass_info.get("related_klass_infos", ())
        ]

    def to_object(self, row: list[Any], related: dict[Any, Any]) -> Any:
        item = self._model.__new__(self._model)
        vars(item).update(zip(self._names, self._values(row), strict=True))
        item._state = ModelState()
        item._state.adding, item._state.db = False, connection.alias
        for table, set_on in self._related:
            pk = row[table._pk]
            key = (table, pk)
            if pk is not None and key not in related:
                related[key] = table.to_object(row, related)
            set_on(item, related.get(key))
        return item
