"""Compares rows with the events of the log, for the reconcilers of all packages."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connection, transaction

from killswitch.audit import event_data
from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.runtime.text import truncate

BATCH_SIZE = 500
MAX_VALUE_CHARS = 60


class LoggedEvent(NamedTuple):
    """The columns of an event that reconcilers compare."""

    seq: int
    kind: str
    actor: str
    role: str
    exchange_id: str
    request_id: str
    status: str
    reject_reason: str
    data: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return the data, empty if it cannot be read: then our software did not write it."""
        return event_data.parse(self.data)


def pages(kind: Kind) -> Iterator[list[LoggedEvent]]:
    """Yield the events of one kind, oldest first. There is an index for one kind at a time."""
    last = 0
    events = AuditEvent.objects.filter(kind=kind).order_by("seq").values_list(*LoggedEvent._fields)
    while page := [LoggedEvent._make(row) for row in events.filter(seq__gt=last)[:BATCH_SIZE]]:
        yield page
        last = page[-1].seq


def compare_columns(
    name: str, event: LoggedEvent, columns: Mapping[str, Any], *, found: Mapping[str, Any]
) -> Iterator[Discrepancy]:
    """Compare a row with its event's data and columns.

    Columns that are not in the event are left out: older software recorded fewer.
    """
    logged = {**event.facts, **columns}
    for column, value in found.items():
        if column in logged and logged[column] != value:
            yield differing(name, column, value, logged=logged[column], seq=event.seq)


def differing(name: str, column: str, value: Any, *, logged: Any, seq: int) -> Discrepancy:
    """Return the discrepancy of one column."""
    reason = (
        f"{name}: {column} is {value_text(value)}, but event {seq} records {value_text(logged)}"
    )
    return Discrepancy(seq=seq, reason=reason)


def value_text(value: Any) -> str:
    """Return a value for a message, cut to a length at which it can be recognised."""
    return truncate(repr(value), MAX_VALUE_CHARS)


@contextmanager
def snapshot() -> Iterator[None]:
    """Open a short transaction in which all reads see the same moment."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
