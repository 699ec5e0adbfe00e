"""Reads rows without making models of them, with times and IDs as the texts that events contain.

That takes a fraction of the time. A row that differs from its event is read again as a model, which
has the values that a finding names.
"""

from collections import namedtuple
from collections.abc import Iterator
from functools import cache
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    Field,
    Func,
    Model,
    QuerySet,
    UUIDField,
)
from django.db.models.sql.compiler import SQLCompiler

from killswitch.audit.verification.chain_walk import PG_TIME

AnyModel = TypeVar("AnyModel", bound=Model)

COLUMN = "%(expressions)s"
# Times have six digits of microseconds, or none if they are zero. Other texts stay as they are.
SQLITE_TIME = (
    f"CASE length({COLUMN})"
    f" WHEN 26 THEN substr({COLUMN}, 1, 10) || 'T' || substr({COLUMN}, 12) || 'Z'"
    f" WHEN 19 THEN substr({COLUMN}, 1, 10) || 'T' || substr({COLUMN}, 12) || '.000000Z'"
    f" ELSE {COLUMN} || '' END"
)
SQLITE_UUID = " || '-' || ".join(
    f"substr({COLUMN}, {start}, {length})"
    for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 100))
)


class _Text(Func):
    """The text of a column, as SQL of its own for each database.

    Values are passed on as the database returns them, which no text field converts.
    """

    output_field: "Field[Any, Any]" = CharField()
    on_sqlite = COLUMN
    on_postgresql = COLUMN

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        return self.as_sql(compiler, connection, template=self.on_sqlite)

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        return self.as_sql(compiler, connection, template=self.on_postgresql)


class UtcText(_Text):
    """A time as `canonical_json.utc_text` writes it."""

    on_sqlite = SQLITE_TIME
    on_postgresql = PG_TIME.format(column=COLUMN)


class UuidText(_Text):
    """A UUID in lower case with hyphens."""

    on_sqlite = SQLITE_UUID
    on_postgresql = f"({COLUMN})::text"


class TruthValue(_Text):
    """A boolean; on SQLite it stays the 0 or 1 of the table, which equals False or True."""

    on_sqlite = f"+{COLUMN}"


def plain_rows(rows: QuerySet[AnyModel]) -> Iterator[AnyModel]:
    """Yield rows that have the columns of their model, and neither its methods nor relations."""
    expressions, row_type = _layout(rows.model)
    return map(row_type._make, rows.values_list(*expressions))


@cache
def _layout(model: type[Model]) -> tuple[tuple[Func | str, ...], Any]:
    """Return the columns of a model as they are read, and the type of a row."""
    fields = model._meta.concrete_fields
    # A subclass, because a tuple alone has no place for the rows that belong to a row.
    columns = namedtuple("Columns", [field.attname for field in fields])  # type: ignore[misc]
    return tuple(map(_expression, fields)), type(model.__name__, (columns,), {})


def _expression(field: "Field[Any, Any]") -> Func | str:
    match field:
        case DateTimeField():
            return UtcText(field.attname)
        case UUIDField():
            return UuidText(field.attname)
        case BooleanField():
            return TruthValue(field.attname)
        case _:
            return field.attname
