"""Compares requests, presses, attempts and remaining orders with their events in the log.

Rows must still contain what their events contain. A request in flight may lack its outcome.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from django.db.models import Min, QuerySet

from killswitch.alarms.models import AlarmKind
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    LoggedEvent,
    among,
    batches,
    compare_columns,
    discrepancy,
    logged_events,
    reconcilers,
    snapshot,
    value_text,
)
from killswitch.audit.reconciliation.plain_rows import AnyModel, plain_rows
from killswitch.audit.verification.findings import Finding, Progress
from killswitch.cancels import event_data
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder, SecondLook
from killswitch.cancels.states import FINAL, Status
from killswitch.exchanges.models import Exchange

BATCH_SIZE = 500  # the attempts of a request may hold 64 KiB each


class ReadRows(Protocol):
    """Returns the rows of a query: as models, or as `plain_rows`."""

    def __call__(self, rows: QuerySet[AnyModel], /) -> Iterator[AnyModel]: ...


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """The rows of one request and its events."""

    request: CancelRequest
    attempts: list[Attempt] = field(default_factory=list)
    orders: list[ResidualOrder] = field(default_factory=list)
    looks: list[SecondLook] = field(default_factory=list)
    is_unique: bool  # its uuid finds this row and no other
    has_unique_batch: bool  # no other batch has the number or the uuid of its batch
    shown_under: str | None  # the exchange under which the pages show it
    events: Mapping[str, list[LoggedEvent]]  # of each kind, oldest first


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Finding]:
    """Yield the first discrepancy of each of these requests, or of all."""
    if ids is not None:
        for start in range(0, len(ids), BATCH_SIZE):
            batch = ids[start : start + BATCH_SIZE]
            requests = CancelRequest.objects.filter(uuid__in=parse_uuids(batch)).order_by("id")
            yield from _of_rows(list(requests.values_list("id", flat=True)))
            yield from _of_deleted(batch)
        return
    for rows in batches(
        CancelRequest.objects.values_list("id", named=True),
        by="id",
        size=BATCH_SIZE,
        subject="requests",
        progress=progress,
        total=CancelRequest.objects.count(),
    ):
        yield from _of_rows([row.id for row in rows])
    for rows in batches(  # each id once, straight from the index
        AuditEvent.objects.values_list("request_id", named=True).distinct(),
        by="request_id",
        size=10 * BATCH_SIZE,
        after="",
        subject="requests in the log",
        progress=progress,
    ):
        yield from _of_deleted([row.request_id for row in rows])
    for empty_batch in Batch.objects.filter(requests=None).order_by("id")[:1]:
        yield discrepancy(f"cancel {empty_batch.uuid} has no request and no event")


def _of_rows(pks: Sequence[int]) -> list[Finding]:
    """Return the discrepancies that a second comparison finds as well, in one snapshot."""
    if not _compare(pks, read_rows=plain_rows):
        return []
    with snapshot():
        return _compare(pks, read_rows=iter)


def _compare(pks: Sequence[int], *, read_rows: ReadRows) -> list[Finding]:
    try:
        records = _records(pks, read_rows=read_rows)
        first_ones = [next(_discrepancies(pk, records.get(pk)), None) for pk in pks]
    except (ValueError, TypeError, OverflowError) as error:  # a row holds what cannot be read
        if len(pks) > 1:
            return [finding for pk in pks for finding in _compare([pk], read_rows=read_rows)]
        return [discrepancy(f"request number {pks[0]}: a row cannot be read ({error})")]
    return list(filter(None, first_ones))


def _records(pks: Sequence[int], *, read_rows: ReadRows) -> dict[int, RequestRecord]:
    """Read the records of these requests; the number of queries does not depend on their number."""
    selected = CancelRequest.objects.filter(among("id", pks)).order_by()
    requests = list(read_rows(selected))
    batches_by_id, batch_counts = _batches_of(selected, read_rows=read_rows)
    uuid_counts = Counter(str(request.uuid) for request in requests)
    others = CancelRequest.objects.exclude(among("id", pks)).order_by()
    uuid_counts.update(
        map(str, others.filter(uuid__in=selected.values("uuid")).values_list("uuid", flat=True))
    )
    exchanges = dict(Exchange.objects.values_list("id", "exchange_id"))
    events: dict[str, dict[str, list[LoggedEvent]]] = defaultdict(lambda: defaultdict(list))
    # Without a condition on their kinds, for which SQLite would go through the whole log.
    for event in logged_events(AuditEvent.objects.filter(request_id__in=[*uuid_counts])):
        events[event.request_id][event.kind].append(event)
    records = {}
    for request in requests:
        if batch := batches_by_id.get(request.batch_id):
            uuid = str(request.uuid)
            request.batch = batch
            records[request.id] = RequestRecord(
                request=request,
                is_unique=uuid_counts[uuid] == 1,
                has_unique_batch=max(batch_counts[batch.id], batch_counts[str(batch.uuid)]) == 1,
                shown_under=exchanges.get(request.configured_exchange_id),
                events=events[uuid],
            )
    of_requests = among("request_id", pks)
    for attempt in read_rows(Attempt.objects.filter(of_requests).order_by("request_id", "number")):
        if record := records.get(attempt.request_id):
            record.attempts.append(attempt)
    for order in read_rows(ResidualOrder.objects.filter(of_requests).order_by("request_id", "id")):
        if record := records.get(order.request_id):
            record.orders.append(order)
    for look in read_rows(SecondLook.objects.filter(of_requests).order_by("request_id", "after_s")):
        if record := records.get(look.request_id):
            record.looks.append(look)
    return records


def _batches_of(
    requests: QuerySet[CancelRequest], *, read_rows: ReadRows
) -> tuple[dict[int, Batch], Mapping[int | str, int]]:
    """Return the batches of these requests, and how many batches have each number and each uuid.

    That is one, unless a row was forged.
    """
    selected = Batch.objects.filter(id__in=requests.values("batch")).order_by()
    rows = list(read_rows(selected))
    counts: Counter[int | str] = Counter(row.id for row in rows)
    counts.update(str(row.uuid) for row in rows)
    others = Batch.objects.exclude(id__in=requests.values("batch")).order_by()
    counts.update(
        map(str, others.filter(uuid__in=selected.values("uuid")).values_list("uuid", flat=True))
    )
    retried_ids = {row.retry_of_id for row in rows if row.retry_of_id is not None}
    retried = {row.id: row for row in read_rows(Batch.objects.filter(id__in=retried_ids))}
    for row in rows:
        row.retry_of = retried.get(row.retry_of_id or 0)
    return {row.id: row for row in rows}, counts


def _of_deleted(ids: Sequence[str]) -> Iterator[Finding]:
    """Yield the requests that exist only in the log. Rows and events are written together."""
    rows = CancelRequest.objects.filter(uuid__in=parse_uuids(ids))
    existing_ids = {str(uuid) for uuid in rows.values_list("uuid", flat=True)}
    deleted_ids = [request_id for request_id in ids if request_id not in existing_ids]
    events = AuditEvent.objects.filter(request_id__in=deleted_ids).order_by()
    first_seqs = dict(events.values_list("request_id").annotate(Min("seq")))
    for request_id in deleted_ids:
        reason = f"request {request_id:.50} was deleted: it exists only in the log"
        yield discrepancy(reason, seq=first_seqs.get(request_id))


def parse_uuids(texts: Sequence[str]) -> list[UUID]:
    """Return the ids of requests in these texts, without those that are none."""
    uuids = []
    for text in texts:
        with suppress(ValueError):
            uuids.append(UUID(text))
    return uuids


def _discrepancies(pk: int, record: RequestRecord | None) -> Iterator[Finding]:
    """Yield the discrepancies of one request; only the first is used, others may follow from it."""
    if record is None:
        yield discrepancy(f"request number {pk}: it or its cancel was deleted")
        return
    request, batch, events = record.request, record.request.batch, record.events
    name = f"request {request.uuid}"
    if not record.is_unique:
        yield discrepancy(f"{name}: another row has the same ID")
    presses = events[EventKind.REQUESTED]
    if len(presses) != 1:
        seq = presses[1].seq if presses else None
        yield discrepancy(f"{name} has {len(presses)} REQUESTED events instead of one", seq=seq)
        return
    name, seq = f"{name} ({request.exchange_id:.{MAX_VALUE_CHARS}})", presses[0].seq
    yield from _in_press(name, request, presses[0])
    if record.shown_under != request.exchange_id:
        exchange = value_text(record.shown_under)
        yield discrepancy(f"{name} is listed under exchange {exchange}", seq=seq)
    if not record.has_unique_batch:
        yield discrepancy(f"{name}: its cancel shares an ID with another one", seq=seq)
    completion = {"reason": batch.completed_reason, "completed_at": batch.completed_at}
    for event in events[EventKind.REASON_COMPLETED]:
        yield from compare_columns(name, event, completion)
    if any(completion.values()) and not events[EventKind.REASON_COMPLETED]:
        yield discrepancy(f"{name}: its added reason has no event")
    yield from _in_attempts(name, record)
    yield from _in_second_looks(name, record)
    yield from _in_outcome(name, record) if events[EventKind.FINISHED] else _in_flight(name, record)


def _in_press(name: str, request: CancelRequest, event: LoggedEvent) -> Iterator[Finding]:
    batch, press = request.batch, event_data.of_press(request, request.batch)
    recorded = read(event)
    yield from compare_columns(
        name,
        event,
        {"exchange": request.exchange_id, "by": batch.by_name, "role": batch.by_role, **press},
        data=recorded,
        event_columns={"exchange": "exchange_id", "by": "actor", "role": "role"},
    )
    for key, default in event_data.PRESS_DEFAULTS.items():
        if key not in recorded.facts and press[key] != default:
            value = value_text(press[key])
            yield discrepancy(f"{name}: {key} is {value}, which no event records", seq=event.seq)


def _in_attempts(name: str, record: RequestRecord) -> Iterator[Finding]:
    rows = {attempt.number: attempt for attempt in record.attempts}
    for number, count in Counter(attempt.number for attempt in record.attempts).items():
        if count > 1:
            yield discrepancy(f"{name} has two attempts with the number {number}")
    for event in record.events[EventKind.ATTEMPT]:
        recorded = read(event)
        if attempt := rows.pop(recorded.number("number") or 0, None):
            values = event_data.of_attempt(attempt)
            yield from compare_columns(f"{name}, attempt", event, values, data=recorded)
        else:
            reason = f"{name}: the attempt of event {event.seq} was deleted or renumbered"
            yield discrepancy(reason, seq=event.seq)
    for number in rows:
        yield discrepancy(f"{name}: its attempt {number} has no event")
    count, row_count = record.request.attempt_count, len(record.attempts)
    if count != row_count:
        yield discrepancy(f"{name}: the count says {count} attempts, but {row_count} are stored")


def _in_outcome(name: str, record: RequestRecord) -> Iterator[Finding]:
    request, (first, *others) = record.request, record.events[EventKind.FINISHED]
    for event in others:
        yield discrepancy(f"{name} finished more than once", seq=event.seq)
    # A holder that slept records its attempt even after another one has finished.
    late = [attempt for attempt in record.events[EventKind.ATTEMPT] if attempt.seq > first.seq]
    outcome = {
        "attempts": len(record.attempts) - len(late),
        "status": request.status,
        "reject_reason": request.reject_reason,
    }
    yield from compare_columns(
        name,
        first,
        {**event_data.of_end(request, record.orders), **outcome},
        event_columns={"status": "status", "reject_reason": "reject_reason"},
    )


def _in_second_looks(name: str, record: RequestRecord) -> Iterator[Finding]:
    """Yield what differs in what was seen after the end: second looks, and orders open again."""
    looks = {look.after_s: look for look in record.looks}
    for event in record.events[EventKind.SECOND_LOOK]:
        recorded = read(event)
        if look := looks.pop(recorded.number("after_s") or 0, None):
            values = event_data.of_look(look)
            yield from compare_columns(f"{name}, second look", event, values, data=recorded)
        else:
            reason = f"{name}: the second look of event {event.seq} was deleted or changed"
            yield discrepancy(reason, seq=event.seq)
    for after_s in looks:
        yield discrepancy(f"{name}: its second look after {after_s} s has no event")
    reopening = event_data.of_reopening(record.request)
    alarms = [
        event
        for event in record.events[EventKind.ALARM_RAISED]
        if read(event).text("alarm_kind") == AlarmKind.REOPENED
    ]
    for event in alarms:
        yield from compare_columns(name, event, reopening)
    if not alarms and any(value is not None for value in reopening.values()):
        yield discrepancy(f"{name}: that orders were open again has no event")


def _in_flight(name: str, record: RequestRecord) -> Iterator[Finding]:
    """Yield what a request that has not finished must not contain."""
    request, events = record.request, record.events
    if request.status in FINAL:
        yield discrepancy(f"{name} is {request.status}, and no event records that it finished")
    claims = [*events[EventKind.ATTEMPT], *events[EventKind.TAKEN_OVER]]
    if request.status == Status.REQUESTED and claims:
        seq = max(event.seq for event in claims)
        reason = f"{name} is {request.status}, and event {seq} shows that it was claimed"
        yield discrepancy(reason, seq=seq)
    early = [column for column in ("conclusion", "open_after") if getattr(request, column)]
    if record.orders:
        early.append("remaining orders")
    if early:
        yield discrepancy(f"{name} has not finished, and already contains {early[0]}")


reconcilers.append(discrepancies)
