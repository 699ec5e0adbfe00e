"""Compares requests, presses, attempts and remaining orders with their events in the log.

Rows must still contain what their events contain. A request in flight may lack its outcome. Writers
go on meanwhile, so what looks wrong is compared again in one snapshot.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from django.db.models import Q

from killswitch.audit.models import AuditEvent
from killswitch.audit.reconciliation.comparison import LoggedEvent, snapshot
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.verification.findings import Progress
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.reconcile_request import KINDS, RequestRecord, compare
from killswitch.exchanges.models import Exchange

BATCH_SIZE = 100  # the attempts of a request may hold 64 KiB each


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """Yield the first discrepancy of each of these requests, or of all."""
    if ids is not None:
        for start in range(0, len(ids), BATCH_SIZE):
            some = ids[start : start + BATCH_SIZE]
            rows = CancelRequest.objects.filter(uuid__in=_uuids(some)).order_by("id")
            yield from _of_rows(list(rows.values_list("id", flat=True)))
            yield from _of_deleted(some)
        return
    done, total = 0, CancelRequest.objects.count()
    for pks in _batches_of_pks():
        yield from _of_rows(pks)
        done += len(pks)
        progress("requests", done, total)
    done = 0
    for some in _batches_of_logged_ids():
        yield from _of_deleted(some)
        done += len(some)
        progress("requests in the log", done, 0)
    for batch in Batch.objects.filter(requests=None).order_by("id")[:1]:
        yield Discrepancy(seq=None, reason=f"cancel {batch.uuid} has no request and no event")


def _of_rows(pks: Sequence[int]) -> Iterator[Discrepancy]:
    try:
        records = _records(pks)
        suspects = [pk for pk in pks if _first_discrepancy(pk, records)]
    except (ValueError, TypeError, OverflowError):  # a row holds what cannot be read
        suspects = list(pks)
    for pk in suspects:
        try:
            with snapshot():
                discrepancy = _first_discrepancy(pk, _records([pk]))
        except (ValueError, TypeError, OverflowError) as error:
            reason = f"request number {pk}: a row cannot be read ({error})"
            discrepancy = Discrepancy(seq=None, reason=reason)
        if discrepancy:
            yield discrepancy


def _first_discrepancy(pk: int, records: Mapping[int, RequestRecord]) -> Discrepancy | None:
    if pk in records:
        return compare(records[pk])
    return Discrepancy(seq=None, reason=f"request number {pk}: it or its cancel was deleted")


def _records(pks: Sequence[int]) -> dict[int, RequestRecord]:
    """Read the records of these requests; the number of queries does not depend on their number."""
    requests = list(CancelRequest.objects.filter(pk__in=pks).select_related("batch").order_by("id"))
    pks_by_uuid: dict[UUID, list[int]] = defaultdict(list)
    same_uuids = CancelRequest.objects.filter(uuid__in=[request.uuid for request in requests])
    for uuid, pk in same_uuids.values_list("uuid", "id"):
        pks_by_uuid[uuid].append(pk)
    batches = Batch.objects.filter(
        Q(id__in={request.batch_id for request in requests})
        | Q(uuid__in={request.batch.uuid for request in requests})
    )
    # How many batches have each number and each uuid: one, unless a row was forged.
    counts = Counter(value for row in batches.values_list("id", "uuid") for value in row)
    exchanges = dict(Exchange.objects.values_list("id", "exchange_id"))
    records = {
        request.pk: RequestRecord(
            request=request,
            is_unique=pks_by_uuid[request.uuid] == [request.pk],
            has_unique_batch=max(counts[request.batch_id], counts[request.batch.uuid]) == 1,
            shown_under=exchanges.get(request.configured_exchange_id),
        )
        for request in requests
    }
    for attempt in Attempt.objects.filter(request__in=list(records)).order_by("request", "number"):
        records[attempt.request_id].attempts.append(attempt)
    for order in ResidualOrder.objects.filter(request__in=list(records)).order_by("id"):
        records[order.request_id].orders.append(order)
    events = _events([record.request_id for record in records.values()])
    for record in records.values():
        record.events += events.get(record.request_id, ())
    return records


def _events(ids: Sequence[str]) -> Mapping[str, list[LoggedEvent]]:
    """Return the events of each request, oldest first.

    Their kinds are filtered here, because SQLite would use the index of the kinds and go through
    the whole log.
    """
    events: dict[str, list[LoggedEvent]] = defaultdict(list)
    rows = AuditEvent.objects.filter(request_id__in=ids).order_by("seq")
    for row in rows.values_list(*LoggedEvent._fields):
        event = LoggedEvent._make(row)
        if event.kind in KINDS:
            events[event.request_id].append(event)
    return events


def _of_deleted(ids: Sequence[str]) -> Iterator[Discrepancy]:
    """Yield the requests that exist only in the log. Rows and events are written together."""
    rows = CancelRequest.objects.filter(uuid__in=_uuids(ids))
    existing = {str(uuid) for uuid in rows.values_list("uuid", flat=True)}
    missing = [request_id for request_id in ids if request_id not in existing]
    events = _events(missing)
    for request_id in missing:
        seq = events[request_id][0].seq if request_id in events else None
        reason = f"request {request_id:.50} was deleted: it exists only in the log"
        yield Discrepancy(seq=seq, reason=reason)


def _uuids(texts: Sequence[str]) -> list[UUID]:
    uuids = []
    for text in texts:
        with suppress(ValueError):
            uuids.append(UUID(text))
    return uuids


def _batches_of_pks() -> Iterator[list[int]]:
    # The first has no lower bound: a forged row may have a number below one.
    rows = CancelRequest.objects.order_by("id").values_list("id", flat=True)
    pks = list(rows[:BATCH_SIZE])
    while pks:
        yield pks
        pks = list(rows.filter(id__gt=pks[-1])[:BATCH_SIZE])


def _batches_of_logged_ids() -> Iterator[list[str]]:
    """Yield each id once, straight from the index."""
    last = ""
    ids = AuditEvent.objects.order_by("request_id").values_list("request_id", flat=True).distinct()
    while some := list(ids.filter(request_id__gt=last)[: 10 * BATCH_SIZE]):
        yield some
        last = some[-1]
