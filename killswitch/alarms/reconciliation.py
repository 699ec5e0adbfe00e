"""Compares the alarms with the audit log: raised, delivered to a channel, acknowledged by a user.

An event is committed together with its row, and read here before it. So the row is never older than
the event, even while others are written. A row without an event shows in the counts.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from django.db.models import QuerySet

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.reconciliation.comparison import LoggedEvent, compare_columns, pages, snapshot
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.verification.findings import Progress


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """Compare every alarm. Only a full verification does: it reads all events about alarms."""
    if ids is not None:
        return
    for kind, compare in COMPARISONS.items():
        count = 0
        for events in pages(kind):
            yield from compare(events)
            count += len(events)
            progress(Kind(kind).label.lower(), count, 0)
    if next(_miscounted(), None):
        # Rows may have been written between the two counts.
        with snapshot():
            differences = list(_miscounted())
        yield from differences


def _compare_alarms(events: Sequence[LoggedEvent]) -> Iterator[Discrepancy]:
    alarms = Alarm.objects.in_bulk([_alarm_id(event) for event in events])
    for event in events:
        if not (alarm := alarms.get(_alarm_id(event))):
            reason = f"alarm {_alarm_id(event)} was deleted: it is only in the log"
            yield Discrepancy(seq=event.seq, reason=reason)
            continue
        columns = {"exchange_id": event.exchange_id, "request_id": event.request_id}
        if event.kind == Kind.ALARM_ACKNOWLEDGED:
            columns["acknowledged_by"] = event.actor
        row = {
            "alarm_kind": alarm.kind,
            "subject": alarm.subject,
            "title": alarm.title,
            "detail": alarm.detail,
            "exchange_id": alarm.exchange_id,
            "request_id": alarm.request_id,
            "raised_at": utc_text(alarm.raised_at),
            "acknowledged_by": alarm.acknowledged_by,
            "acknowledged_at": _utc_text_or_none(alarm.acknowledged_at),
        }
        yield from compare_columns(f"alarm {alarm.pk}", event, columns, found=row)


def _compare_deliveries(events: Sequence[LoggedEvent]) -> Iterator[Discrepancy]:
    rows = Delivery.objects.filter(alarm__in=[_alarm_id(event) for event in events])
    deliveries = {(row.alarm_id, row.channel): row for row in rows}
    for event in events:
        channel = event.facts.get("place")
        name = f"alarm {_alarm_id(event)}, delivered to {channel}"
        if delivery := deliveries.get((_alarm_id(event), str(channel))):
            row = {"told_at": _utc_text_or_none(delivery.delivered_at)}
            yield from compare_columns(name, event, {}, found=row)
        else:
            yield Discrepancy(seq=event.seq, reason=f"{name}: the row of this delivery was deleted")


COMPARISONS: dict[Kind, Callable[[Sequence[LoggedEvent]], Iterator[Discrepancy]]] = {
    Kind.ALARM_RAISED: _compare_alarms,
    Kind.ALARM_ACKNOWLEDGED: _compare_alarms,
    Kind.ALARM_TOLD: _compare_deliveries,
}


def _miscounted() -> Iterator[Discrepancy]:
    rows_by_kind: dict[Kind, tuple[str, QuerySet[Alarm] | QuerySet[Delivery]]] = {
        Kind.ALARM_RAISED: ("alarms in the table", Alarm.objects.all()),
        Kind.ALARM_ACKNOWLEDGED: (
            "acknowledged alarms",
            Alarm.objects.exclude(acknowledged_at=None, acknowledged_by=""),
        ),
        Kind.ALARM_TOLD: ("deliveries", Delivery.objects.exclude(delivered_at=None)),
    }
    for kind, (noun, rows) in rows_by_kind.items():
        row_count, event_count = rows.count(), AuditEvent.objects.filter(kind=kind).count()
        if row_count != event_count:
            reason = f"{row_count} {noun}, but {event_count} events of the kind {kind}"
            yield Discrepancy(seq=None, reason=reason)


def _alarm_id(event: LoggedEvent) -> int:
    """Return the number of the alarm's row; 0, which no row has, when the event has none."""
    number = event.facts.get("alarm")
    return number if isinstance(number, int) else 0


def _utc_text_or_none(at: datetime | None) -> str | None:
    return utc_text(at) if at else None
