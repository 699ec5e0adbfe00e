"""Compares the alarms with what the log says: raised, told to a place, acknowledged by a person.

An event is committed together with its row and read here before it. So the row is never older than
the event, whoever writes meanwhile. A row that no event knows shows in the counts.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from django.db.models import QuerySet

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit import canonical_json
from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.reconciliation.comparison import LoggedEvent, compare_columns, pages, snapshot
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.verification.findings import Progress


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """Of every alarm. Only a whole verification looks: it goes through all events about alarms."""
    if ids is not None:
        return
    for kind, differences in DIFFERENCES.items():
        done = 0
        for events in pages(kind):
            yield from differences(events)
            done += len(events)
            progress(Kind(kind).label.lower(), done, 0)
    if next(_miscounted(), None):
        # Some may have been written between the two counts.
        with snapshot():
            found = list(_miscounted())
        yield from found


def _raised(events: Sequence[LoggedEvent]) -> Iterator[Discrepancy]:
    alarms = Alarm.objects.in_bulk([_alarm(event) for event in events])
    for event in events:
        columns = {"exchange_id": event.exchange_id, "request_id": event.request_id}
        if alarm := alarms.get(_alarm(event)):
            found = {
                "alarm_kind": alarm.kind,
                "subject": alarm.subject,
                "title": alarm.title,
                "detail": alarm.detail,
                "exchange_id": alarm.exchange_id,
                "request_id": alarm.request_id,
                "raised_at": _instant(alarm.raised_at),
            }
            yield from compare_columns(f"alarm {alarm.pk}", event, columns, found=found)
        else:
            reason = f"alarm {_alarm(event)} was deleted: only the log knows it"
            yield Discrepancy(seq=event.seq, reason=reason)


def _acknowledged(events: Sequence[LoggedEvent]) -> Iterator[Discrepancy]:
    alarms = Alarm.objects.in_bulk([_alarm(event) for event in events])
    for event in events:
        if alarm := alarms.get(_alarm(event)):
            columns = {"acknowledged_by": event.actor}
            found = {
                "acknowledged_by": alarm.acknowledged_by,
                "acknowledged_at": _instant(alarm.acknowledged_at),
            }
            yield from compare_columns(f"alarm {alarm.pk}", event, columns, found=found)


def _told(events: Sequence[LoggedEvent]) -> Iterator[Discrepancy]:
    rows = Delivery.objects.filter(alarm__in=[_alarm(event) for event in events])
    tellings = {(row.alarm_id, row.place): row for row in rows}
    for event in events:
        place = event.facts.get("place")
        name = f"alarm {_alarm(event)}, told to {place}"
        if row := tellings.get((_alarm(event), str(place))):
            yield from compare_columns(name, event, {}, found={"told_at": _instant(row.told_at)})
        else:
            yield Discrepancy(seq=event.seq, reason=f"{name}: the row that says so was deleted")


DIFFERENCES: dict[Kind, Callable[[Sequence[LoggedEvent]], Iterator[Discrepancy]]] = {
    Kind.ALARM_RAISED: _raised,
    Kind.ALARM_ACKNOWLEDGED: _acknowledged,
    Kind.ALARM_TOLD: _told,
}


def _miscounted() -> Iterator[Discrepancy]:
    rows: dict[Kind, tuple[str, QuerySet[Alarm] | QuerySet[Delivery]]] = {
        Kind.ALARM_RAISED: ("alarms stand in the table", Alarm.objects.all()),
        Kind.ALARM_ACKNOWLEDGED: (
            "alarms are acknowledged",
            Alarm.objects.exclude(acknowledged_at=None, acknowledged_by=""),
        ),
        Kind.ALARM_TOLD: ("places were told", Delivery.objects.exclude(told_at=None)),
    }
    for kind, (words, written) in rows.items():
        count, said = written.count(), AuditEvent.objects.filter(kind=kind).count()
        if count != said:
            reason = f"{count} {words}, and {said} events say so ({kind})"
            yield Discrepancy(seq=None, reason=reason)


def _alarm(event: LoggedEvent) -> int:
    """The number of the row; 0 is none."""
    number = event.facts.get("alarm")
    return number if isinstance(number, int) else 0


def _instant(at: datetime | None) -> str | None:
    return canonical_json.utc_text(at) if at else None
