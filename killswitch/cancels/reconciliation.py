"""Compares requests, presses, attempts and remaining orders with what the log says of them.

Whatever an event carries, the row must still say. A request in flight is allowed to be in flight;
what looks wrong is looked at again in one snapshot, because writers go on meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from django.db.models import Q

from killswitch.audit.models import AuditEvent
from killswitch.audit.reconciliation.comparison import LoggedEvent, snapshot
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.audit.verification.findings import Progress
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.reconcile_request import KINDS, RequestRecord, compare
from killswitch.exchanges.models import Exchange

BATCH_SIZE = 100  # requests: their attempts may hold 64 KiB each


def discrepancies(ids: Sequence[str] | None, progress: Progress) -> Iterator[Discrepancy]:
    """The first of each request, of these or of all."""
    if ids is not None:
        for start in range(0, len(ids), BATCH_SIZE):
            yield from _of_named(ids[start : start + BATCH_SIZE])
        return
    done, total = 0, CancelRequest.objects.count()
    for keys in _keys_of_rows():
        yield from _of_rows(keys)
        done += len(keys)
        progress("requests", done, total)
    done = 0
    for some in _ids_of_events():
        yield from _of_unknown(some)
        done += len(some)
        progress("requests in the log", done, 0)
    yield from _empty_presses()


def _of_named(ids: Sequence[str]) -> Iterator[Discrepancy]:
    rows = CancelRequest.objects.filter(uuid__in=_uuids(ids))
    yield from _of_rows(list(rows.order_by("id").values_list("id", flat=True)))
    yield from _of_unknown(ids)


def _of_rows(keys: Sequence[int]) -> Iterator[Discrepancy]:
    for key in _suspects(keys):
        try:
            with snapshot():
                found = _disagreement(key, _cases([key]))
        except (ValueError, TypeError, OverflowError) as error:
            yield Discrepancy(
                seq=None, reason=f"request number {key}: a row cannot be read ({error})"
            )
        else:
            if found:
                yield found


def _suspects(keys: Sequence[int]) -> list[int]:
    """Those that do not agree at first sight, or whose rows hold what cannot be read."""
    try:
        cases = _cases(keys)
        return [key for key in keys if _disagreement(key, cases)]
    except (ValueError, TypeError, OverflowError):
        return list(keys)


def _disagreement(key: int, cases: Mapping[int, RequestRecord]) -> Discrepancy | None:
    if key in cases:
        return compare(cases[key])
    return Discrepancy(seq=None, reason=f"request number {key}: it or its press was deleted")


def _cases(keys: Sequence[int]) -> dict[int, RequestRecord]:
    """By the rows' own numbers; a fixed number of queries, however many requests."""
    rows = list(CancelRequest.objects.filter(pk__in=keys).select_related("batch").order_by("id"))
    named = _named(row.uuid for row in rows)
    presses = _presses(rows)
    exchanges = dict(Exchange.objects.values_list("id", "exchange_id"))
    cases = {
        row.pk: RequestRecord(
            request=row,
            is_found_alone=named.get(row.uuid) == [row.pk],
            has_one_press=max(presses[row.batch_id], presses[row.batch.uuid]) == 1,
            shown_under=exchanges.get(row.configured_exchange_id),
        )
        for row in rows
    }
    for attempt in Attempt.objects.filter(request__in=list(cases)).order_by("request", "number"):
        cases[attempt.request_id].attempts.append(attempt)
    for order in ResidualOrder.objects.filter(request__in=list(cases)).order_by("id"):
        cases[order.request_id].orders.append(order)
    told = _told([case.request_id for case in cases.values()])
    for case in cases.values():
        case.events += told.get(case.request_id, ())
    return cases


def _named(uuids: Iterable[UUID]) -> dict[UUID, list[int]]:
    """The rows that are found by these ids: one each, unless somebody made it otherwise."""
    rows = CancelRequest.objects.filter(uuid__in=list(uuids))
    found: dict[UUID, list[int]] = {}
    for uuid, key in rows.values_list("uuid", "id"):
        found.setdefault(uuid, []).append(key)
    return found


def _presses(requests: Sequence[CancelRequest]) -> Counter[int | UUID]:
    """How many presses have each number, and each uuid: one, unless somebody made it otherwise."""
    keys = {request.batch_id for request in requests}
    uuids = {request.batch.uuid for request in requests}
    rows = Batch.objects.filter(Q(id__in=keys) | Q(uuid__in=uuids))
    return Counter(name for row in rows.values_list("id", "uuid") for name in row)


def _told(ids: Sequence[str]) -> dict[str, list[LoggedEvent]]:
    """What the log says of each, oldest first.

    Kinds are sorted out here and not by the database: SQLite would go by them through the whole
    log, again and again.
    """
    events = AuditEvent.objects.filter(request_id__in=ids).order_by("seq")
    told: dict[str, list[LoggedEvent]] = {}
    for row in events.values_list(*LoggedEvent._fields):
        one = LoggedEvent._make(row)
        if one.kind in KINDS:
            told.setdefault(one.request_id, []).append(one)
    return told


def _of_unknown(ids: Sequence[str]) -> Iterator[Discrepancy]:
    """Those that only the log knows: events come with their rows, so the row was taken away."""
    rows = CancelRequest.objects.filter(uuid__in=_uuids(ids))
    known = {str(uuid) for uuid in rows.values_list("uuid", flat=True)}
    missing = [one for one in ids if one not in known]
    told = _told(missing)
    for one in missing:
        seq = told[one][0].seq if one in told else None
        reason = f"request {one:.50} was deleted: only the log knows it"
        yield Discrepancy(seq=seq, reason=reason)


def _uuids(ids: Sequence[str]) -> list[UUID]:
    return [uuid for one in ids if (uuid := _uuid(one))]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _keys_of_rows() -> Iterator[list[int]]:
    # The first has no lower bound: whoever adds a row may give it a number below one.
    rows = CancelRequest.objects.order_by("id").values_list("id", flat=True)
    keys = list(rows[:BATCH_SIZE])
    while keys:
        yield keys
        keys = list(rows.filter(id__gt=keys[-1])[:BATCH_SIZE])


def _ids_of_events() -> Iterator[list[str]]:
    """Each once, straight from the index of requests."""
    last = ""
    ids = AuditEvent.objects.order_by("request_id").values_list("request_id", flat=True).distinct()
    while some := list(ids.filter(request_id__gt=last)[: 10 * BATCH_SIZE]):
        yield some
        last = some[-1]


def _empty_presses() -> Iterator[Discrepancy]:
    for batch in Batch.objects.filter(requests=None).order_by("id")[:1]:
        yield Discrepancy(seq=None, reason=f"press {batch.uuid} has no request, and no event")
