# ruff: noqa: S608 - the names are those of our own models
"""Whether SQLite keeps in the columns of the working tables what belongs there.

It keeps in any column whatever it is given. What we then read from it and what it compares itself
need not be the same: an exchange of which `enabled` is 2 is read as off, and offered as on.
"""

from django.apps import apps
from django.db import connection
from django.db.models import Field, Model

from killswitch.audit.models import AuditEvent

KINDS = {
    "bool": "integer",
    "integer": "integer",
    "bigint": "integer",
    "smallint unsigned": "integer",
    "integer unsigned": "integer",
    "bigint unsigned": "integer",
    "datetime": "text",
    "text": "text",
    "BLOB": "blob",
    "real": "real",
}
"""What SQLite should say of a value, by the type of the column; text is `varchar(…)`, too."""


def first_wrongly_typed_value() -> str:
    """The first value that is kept as something else than its column says, or nothing."""
    return next(filter(None, map(_in, _models())), "")


def _models() -> list[type[Model]]:
    """Our own but the log, which the walk looks at."""
    ours = [model for model in apps.get_models() if model.__module__.startswith("killswitch.")]
    return sorted(set(ours) - {AuditEvent}, key=lambda model: model._meta.db_table)


def _in(model: type[Model]) -> str:
    table = model._meta.db_table
    odd = " ".join(filter(None, map(_odd, model._meta.concrete_fields)))
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT CASE {odd} END AS odd FROM "{table}" WHERE odd IS NOT NULL LIMIT 1')
        found = cursor.fetchone()
    return f"{table}: {found[0]}" if found else ""


def _odd(field: "Field[object, object]") -> str:
    column, declared = f'"{field.column}"', field.db_type(connection) or ""
    kind = "text" if declared.startswith(("varchar", "char")) else KINDS.get(declared)
    if kind is None:
        return ""
    is_odd = f"typeof({column}) <> '{kind}'"
    if declared == "bool":
        is_odd = f"({is_odd} OR {column} NOT IN (0, 1))"
    if field.null:
        is_odd = f"({column} IS NOT NULL AND {is_odd})"
    shown = f"typeof({column}) || ' ' || substr(quote({column}), 1, 40)"
    return f"WHEN {is_odd} THEN '{field.column} is kept as ' || {shown}"
