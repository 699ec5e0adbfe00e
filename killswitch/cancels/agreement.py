"""Compares requests, presses, attempts and remaining orders with what the log says of them.

Whatever an event carries, the row must still say. A request in flight is allowed to be in flight;
what looks wrong is looked at again in one snapshot, because writers go on meanwhile.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db import Error, connection, transaction

from killswitch.audit.agreement import Disagreement
from killswitch.audit.findings import Progress
from killswitch.audit.models import AuditEvent, Kind
from killswitch.cancels.comparing import Case, compare
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder

AT_ONCE = 100  # requests: their attempts may hold 64 KiB each
KINDS = (Kind.REQUESTED, Kind.ATTEMPT, Kind.TAKEN_OVER, Kind.FINISHED, Kind.REASON_COMPLETED)


def disagreements(ids: Sequence[str] | None, progress: Progress) -> Iterator[Disagreement]:
    """The first of each request, of these or of all."""
    if ids is not None:
        for start in range(0, len(ids), AT_ONCE):
            yield from _of_some(ids[start : start + AT_ONCE])
        return
    done, total = 0, CancelRequest.objects.count()
    for some in _ids_of_rows():
        yield from _of_some(some)
        done += len(some)
        progress("requests", done, total)
    for some in _ids_of_events():
        known = {str(uuid) for uuid in _known(some)}
        yield from _of_some([one for one in some if one not in known])
    yield from _empty_presses()


def _of_some(ids: Sequence[str]) -> Iterator[Disagreement]:
    for suspect in _suspects(ids):
        try:
            with _snapshot():
                found = compare(_cases([suspect])[0])
        except Error:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            yield Disagreement(
                seq=None, reason=f"request {suspect:.50}: a row cannot be read ({error})"
            )
        else:
            if found:
                yield found


def _suspects(ids: Sequence[str]) -> list[str]:
    """Those that do not agree at first sight, or whose rows hold what cannot be read."""
    try:
        return [case.request_id for case in _cases(ids) if compare(case)]
    except Error:
        raise
    except (ValueError, TypeError, OverflowError):
        return list(ids)


def _cases(ids: Sequence[str]) -> list[Case]:
    """A fixed number of queries, however many requests."""
    uuids = [uuid for one in ids if (uuid := _uuid(one))]
    rows = CancelRequest.objects.filter(uuid__in=uuids).select_related("batch")
    requests = {str(row.uuid): row for row in rows}
    cases = {one: Case(request_id=one, request=requests.get(one)) for one in ids}
    by_key = {row.pk: cases[uuid] for uuid, row in requests.items() if uuid in cases}
    for attempt in Attempt.objects.filter(request__in=by_key).order_by("request", "number"):
        by_key[attempt.request_id].attempts.append(attempt)
    for order in ResidualOrder.objects.filter(request__in=by_key).order_by("id"):
        by_key[order.request_id].orders.append(order)
    events = AuditEvent.objects.filter(request_id__in=ids, kind__in=KINDS)
    for event in events.order_by("seq"):
        cases[event.request_id].events.append(event)
    return list(cases.values())


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _known(ids: Sequence[str]) -> list[UUID]:
    uuids = [uuid for one in ids if (uuid := _uuid(one))]
    return list(CancelRequest.objects.filter(uuid__in=uuids).values_list("uuid", flat=True))


def _ids_of_rows() -> Iterator[list[str]]:
    last = 0
    while rows := list(
        CancelRequest.objects.filter(id__gt=last).order_by("id").values_list("id", "uuid")[:AT_ONCE]
    ):
        yield [str(uuid) for _, uuid in rows]
        last = rows[-1][0]


def _ids_of_events() -> Iterator[list[str]]:
    last = ""
    events = AuditEvent.objects.filter(kind__in=KINDS).order_by("request_id")
    ids = events.values_list("request_id", flat=True).distinct()
    while some := list(ids.filter(request_id__gt=last)[: 10 * AT_ONCE]):
        yield some
        last = some[-1]


def _empty_presses() -> Iterator[Disagreement]:
    for batch in Batch.objects.filter(requests=None).order_by("id")[:1]:
        yield Disagreement(seq=None, reason=f"press {batch.uuid} has no request, and no event")


def _snapshot() -> transaction.Atomic:
    return _Snapshot(using=None, savepoint=True, durable=False)


class _Snapshot(transaction.Atomic):
    """A short transaction whose reads all see the same moment."""

    def __enter__(self) -> None:
        is_outermost = not connection.in_atomic_block
        super().__enter__()
        if is_outermost and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
