"""What the witnesses of every room need: what the log says, one moment to read in, words for it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import connection, transaction

from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.reconciliation.registry import Discrepancy

BATCH_SIZE = 500  # events
MAX_VALUE_CHARS = 60  # characters of a value that are shown


class LoggedEvent(NamedTuple):
    """What is compared of an event; by the names of its columns."""

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
        """Nothing, when they cannot be read: then no program of ours wrote the event."""
        try:
            facts = json.loads(self.data)
        except (ValueError, RecursionError):
            return {}
        return facts if isinstance(facts, dict) else {}


def pages(kind: Kind) -> Iterator[list[LoggedEvent]]:
    """The events of one kind, oldest first. One kind at a time, for which there is an index."""
    last = 0
    events = AuditEvent.objects.filter(kind=kind).order_by("seq").values_list(*LoggedEvent._fields)
    while page := [LoggedEvent._make(row) for row in events.filter(seq__gt=last)[:BATCH_SIZE]]:
        yield page
        last = page[-1].seq


def compare_columns(
    name: str, event: LoggedEvent, columns: Mapping[str, Any], *, found: Mapping[str, Any]
) -> Iterator[Discrepancy]:
    """Compares what the event carries; events of older software carried less."""
    said = {**event.facts, **columns}
    for column, value in found.items():
        if column in said and said[column] != value:
            yield differing(name, column, value, said=said[column], seq=event.seq)


def differing(name: str, column: str, value: Any, *, said: Any, seq: int) -> Discrepancy:
    """A column that is not what an event says."""
    reason = f"{name}: {column} is {value_text(value)}, and event {seq} says {value_text(said)}"
    return Discrepancy(seq=seq, reason=reason)


def value_text(value: Any) -> str:
    """A value as a reader needs it: recognisable, and not all of it."""
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


@contextmanager
def snapshot() -> Iterator[None]:
    """A short transaction whose reads all see the same moment."""
    is_outermost = not connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
