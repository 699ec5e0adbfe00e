"""Compares the working tables with the events of the log.

The log imports no other package, so the module `reconciliation` of each package, which is imported
at start, adds the reconciler of its own tables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from killswitch.audit.canonical_json import utc_text
from killswitch.audit.event_reader import EventData, read
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification.findings import Finding, Progress, Proof, no_progress
from killswitch.runtime.text import truncate

BATCH_SIZE = 500
MAX_VALUE_CHARS = 60


class LoggedEvent(NamedTuple):
    """The columns of an event that are compared; to make a model of it takes much longer."""

    seq: int
    kind: str
    actor: str
    role: str
    exchange_id: str
    request_id: str
    status: str
    reject_reason: str
    data: str


Reconciler = Callable[[Sequence[str] | None, Progress], Iterator[Finding]]
"""Compares the requests with these ids, or everything when they are None."""

reconcilers: list[Reconciler] = []


def discrepancy(reason: str, *, seq: int | None = None) -> Finding:
    """Return a difference between a table and the log; `seq` is the event that differs, if any."""
    return Finding(proof=Proof.TABLES, seq=seq, reason=reason)


def logged_events(events: QuerySet[AuditEvent]) -> Iterator[LoggedEvent]:
    """Return the events, oldest first."""
    rows = events.order_by("seq").values_list(*LoggedEvent._fields)
    return map(LoggedEvent._make, rows)


def among(column: str, numbers: Sequence[int]) -> Q:
    """Return the condition that a column has one of these numbers, which are sorted.

    Without gaps that is a range, which takes no time to prepare.
    """
    if numbers and numbers[-1] - numbers[0] == len(numbers) - 1:
        return Q(**{f"{column}__gte": numbers[0], f"{column}__lte": numbers[-1]})
    return Q(**{f"{column}__in": numbers})


def compare_columns(
    name: str,
    event: AuditEvent | LoggedEvent,
    row: Mapping[str, Any],
    *,
    data: EventData | None = None,
    event_columns: Mapping[str, str] | None = None,
) -> Iterator[Finding]:
    """Compare the values of a row with its event's data, or with these columns of the event.

    A value that is not in the event is left out: older software recorded fewer. `data` is the
    event's, if it was parsed before.
    """
    event_values = (data or read(event)).facts
    if event_columns:
        columns = {key: getattr(event, column) for key, column in event_columns.items()}
        event_values = {**event_values, **columns}
    for key, value in row.items():
        if key not in event_values or event_values[key] == value:
            continue
        text = utc_text(value) if isinstance(value, datetime) else value
        if event_values[key] != text:
            yield differing(name, key, text, logged=event_values[key], seq=event.seq)


def differing(name: str, column: str, value: Any, *, logged: Any, seq: int) -> Finding:
    """Return the discrepancy of one column."""
    values = f"{value_text(value)}, but event {seq} records {value_text(logged)}"
    return discrepancy(f"{name}: {column} is {values}", seq=seq)


def value_text(value: Any) -> str:
    """Return a value for a message, cut to a length at which it can be recognised."""
    return truncate(repr(value), MAX_VALUE_CHARS)


def batches(  # noqa: PLR0913 - three describe the query, three its progress
    *querysets: QuerySet[Any, Any],
    by: str,
    size: int | None = None,
    after: object = None,
    subject: str = "",
    progress: Progress = no_progress,
    total: int = 0,
) -> Iterator[list[Any]]:
    """Yield the rows of one query after the other, in the order of a column that all rows have.

    Each batch is a short query of its own. Only `after` bounds the first one: a forged row may have
    a number below one.
    """
    count = 0
    for queryset in querysets:
        rows, last = queryset.order_by(by), after
        while batch := list(
            (rows if last is None else rows.filter(**{f"{by}__gt": last}))[: size or BATCH_SIZE]
        ):
            yield batch
            count += len(batch)
            progress(subject, count, total)
            last = getattr(batch[-1], by)


def confirmed(compare: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return the discrepancies that a second comparison finds as well, in one snapshot.

    A change may have been committed between two reads of the first one.
    """
    if not any(compare()):
        return []
    with snapshot():
        return list(compare())


@contextmanager
def snapshot() -> Iterator[None]:
    """Open a short transaction in which all reads see the same moment."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
