"""Compares the alarms with the audit log: raised, delivered, acknowledged, resolved, overdue.

An event is committed together with its row, and read here before it. So the row is never older than
the event, even while others are written. A row without an event shows in the counts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.reconciliation.comparison import (
    batches,
    compare_columns,
    confirmed,
    differing,
    discrepancy,
    logged_events,
    reconcilers,
)
from killswitch.audit.verification.findings import Finding, Progress


@dataclass(frozen=True, kw_only=True)
class LoggedRows:
    """The rows that have an event of one kind each, and what this event records of them."""

    noun: str
    rows: QuerySet[Alarm] | QuerySet[Delivery]
    columns: Mapping[str, str]  # of the row, by their names in the event's data
    event_columns: Mapping[str, str] = field(default_factory=dict)  # instead of in the data
    # What an event that lacks a key stands for; other keys that are missing are not compared.
    defaults: Mapping[str, object] = field(default_factory=dict)
    deleted: str = ""  # the finding about an event without a row; another kind has it if empty


LOGGED_ROWS = {
    EventKind.ALARM_RAISED: LoggedRows(
        noun="alarms in the table",
        rows=Alarm.objects.all(),
        columns={
            "alarm_kind": "kind",
            "subject": "subject",
            "title": "title",
            "detail": "detail",
            "exchange_id": "exchange_id",
            "request_id": "request_id",
            "raised_at": "raised_at",
        },
        event_columns={"exchange_id": "exchange_id", "request_id": "request_id"},
        deleted=" was deleted: it is only in the log",
    ),
    EventKind.ALARM_ACKNOWLEDGED: LoggedRows(
        noun="acknowledged alarms",
        rows=Alarm.objects.exclude(
            acknowledged_at=None, acknowledged_by="", note="", by_person_concerned=False
        ),
        columns={
            "acknowledged_by": "acknowledged_by",
            "acknowledged_at": "acknowledged_at",
            "note": "note",
            "by_person_concerned": "by_person_concerned",
        },
        event_columns={"acknowledged_by": "actor"},
        defaults={"note": "", "by_person_concerned": False},
    ),
    EventKind.ALARM_RESOLVED: LoggedRows(
        noun="resolved alarms",
        rows=Alarm.objects.exclude(resolved_at=None, resolution=""),
        columns={"resolved_at": "resolved_at", "resolution": "resolution"},
    ),
    EventKind.ALARM_TOLD: LoggedRows(
        noun="deliveries",
        rows=Delivery.objects.exclude(delivered_at=None),
        columns={"told_at": "delivered_at"},
        deleted=": the row of this delivery was deleted",
    ),
}


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Finding]:
    """Compare every alarm. Only a full verification does: it reads all events about alarms."""
    if ids is not None:
        return
    for kind, table in LOGGED_ROWS.items():
        events_of_kind = AuditEvent.objects.filter(kind=kind)
        subject = kind.label.lower()
        for events in batches(events_of_kind, by="seq", subject=subject, progress=progress):
            yield from _compare(table, events)
    yield from confirmed(_overdue)
    yield from confirmed(_miscounted)


def _compare(table: LoggedRows, events: Sequence[AuditEvent]) -> Iterator[Finding]:
    # An event that names no alarm has the number 0, which no row has.
    logged = [read(event) for event in events]
    numbers = [data.number("alarm") or 0 for data in logged]
    rows: dict[tuple[int, str], Alarm | Delivery]
    if table.rows.model is Delivery:
        deliveries = Delivery.objects.filter(alarm__in=numbers)
        rows = {(delivery.alarm_id, delivery.channel): delivery for delivery in deliveries}
    else:
        rows = {(pk, ""): alarm for pk, alarm in Alarm.objects.in_bulk(numbers).items()}
    for number, event, data in zip(numbers, events, logged, strict=True):
        channel = data.text("place")
        name = f"alarm {number}, delivered to {channel}" if channel else f"alarm {number}"
        if row := rows.get((number, channel)):
            values = {key: getattr(row, column) for key, column in table.columns.items()}
            yield from compare_columns(
                name, event, values, data=data, event_columns=table.event_columns
            )
            for key in table.defaults.keys() - data.facts.keys():
                if values[key] != (default := table.defaults[key]):
                    yield differing(name, key, values[key], logged=default, seq=event.seq)
        elif table.deleted:
            yield discrepancy(f"{name}{table.deleted}", seq=event.seq)


def _overdue() -> Iterator[Finding]:
    """Compare how often each alarm was overdue with the number of its events."""
    logged = Counter(
        read(event).number("alarm") or 0
        for event in logged_events(AuditEvent.objects.filter(kind=EventKind.ALARM_OVERDUE))
    )
    rows = Alarm.objects.exclude(overdue_level=0).values_list("pk", "overdue_level")
    stored = dict(rows.iterator())
    for number in sorted(stored.keys() | logged.keys()):
        level, count = stored.get(number, 0), logged[number]
        if level != count:
            yield discrepancy(
                f"alarm {number}: overdue_level is {level}, but {count} events of the kind"
                f" {EventKind.ALARM_OVERDUE}"
            )


def _miscounted() -> Iterator[Finding]:
    for kind, table in LOGGED_ROWS.items():
        row_count = table.rows.count()
        event_count = AuditEvent.objects.filter(kind=kind).count()
        if row_count != event_count:
            yield discrepancy(
                f"{row_count} {table.noun}, but {event_count} events of the kind {kind}"
            )


reconcilers.append(discrepancies)
