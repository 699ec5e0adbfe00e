"""Finds the distinct values of an indexed column of the log, and those that contain a text."""

from typing import Final

from django.db.models import Q

from killswitch.audit.actors import actor_name
from killswitch.audit.models import AuditEvent
from killswitch.runtime import distinct_values as runtime
from killswitch.runtime.text import close_names

MAX_VALUES: Final = 2000  # of one column
COLUMNS: Final = frozenset({"actor", "exchange_id", "reject_reason", "status"})


def distinct_values(column: str, *, limit: int) -> list[str]:
    """Return up to so many values of the column in their order, without the empty one."""
    if column not in COLUMNS:
        raise ValueError(f"{column} has no index of its own")
    return runtime.distinct_values(AuditEvent, column, limit=limit)


def matching(column: str, text: str, *, max_values: int = MAX_VALUES) -> list[str] | None:
    """Return the values that contain a text, in any case; None for a column with very many."""
    values = distinct_values(column, limit=max_values + 1)
    if len(values) > max_values:
        return None
    return [value for value in values if _contains(value, text)]


def contains(column: str, text: str, *, max_values: int = MAX_VALUES) -> Q:
    """Return the condition that a column contains a text, in any case.

    It names the exact values, which an index finds. Only a column with very many values is
    searched event by event.
    """
    values = matching(column, text, max_values=max_values)
    if values and len(values) == 1:
        return Q(**{column: values[0]})  # an index has its events in their order
    return Q(**{f"{column}__icontains": text} if values is None else {f"{column}__in": values})


def suggestions(column: str, text: str) -> list[str] | None:
    """Return the values that may have been meant, None if a value contains the text."""
    values = distinct_values(column, limit=MAX_VALUES + 1)
    if len(values) > MAX_VALUES or any(_contains(value, text) for value in values):
        return None
    return close_names(text, values)


def _contains(value: str, text: str) -> bool:
    """Return whether a value, or the words for it on the pages, contains a text in any case."""
    return text.casefold() in f"{value}\n{actor_name(value)}".casefold()
