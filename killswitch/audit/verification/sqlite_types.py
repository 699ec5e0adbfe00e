# ruff: noqa: S608 - the names are those of our own models
"""Checks the types of all values in the working tables of SQLite.

A column of SQLite accepts a value of any type, and Python may then read it differently from how
SQL compares it: an exchange with an `enabled` is 2 reads as off and is selected as on.
"""

from django.apps import apps
from django.db import connection
from django.db.models import Field

from killswitch.audit.models import AuditEvent

STORAGE_CLASSES = {
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
"""The storage class that a value must have, by the declared type of its column."""


def first_wrongly_typed_value() -> str:
    """Return the first value with another type than its column, as a phrase, or an empty text."""
    ours = {model for model in apps.get_models() if model.__module__.startswith("killswitch.")}
    # The log itself is checked by the walk of the chain.
    for model in sorted(ours - {AuditEvent}, key=lambda model: model._meta.db_table):
        table = model._meta.db_table
        cases = " ".join(filter(None, map(_case, model._meta.concrete_fields)))
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT CASE {cases} END AS odd FROM "{table}" WHERE odd IS NOT NULL LIMIT 1'
            )
            row = cursor.fetchone()
        if row:
            return f"{table}: {row[0]}"
    return ""


def _case(field: "Field[object, object]") -> str:
    """Return the WHEN clause that describes a wrongly typed value of this field."""
    column, column_type = f'"{field.column}"', field.db_type(connection) or ""
    is_text = column_type.startswith(("varchar", "char"))
    storage_class = "text" if is_text else STORAGE_CLASSES.get(column_type)
    if storage_class is None:
        return ""
    is_wrong = f"typeof({column}) <> '{storage_class}'"
    if column_type == "bool":
        is_wrong = f"({is_wrong} OR {column} NOT IN (0, 1))"
    if field.null:
        is_wrong = f"({column} IS NOT NULL AND {is_wrong})"
    value = f"typeof({column}) || ' ' || substr(quote({column}), 1, 40)"
    return f"WHEN {is_wrong} THEN '{field.column} is stored as ' || {value}"
