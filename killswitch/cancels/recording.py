"""Writes down what happened to a request: each attempt, each read, the end. Truth before speed.

Every function here runs in the caller's transaction, touches its rows first, then raises the
revision, and appends to the audit log last.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import F

from killswitch import structured_logs
from killswitch.alarms import services as alarms
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.audit import chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import Kind
from killswitch.cancels import event_data
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.models import Attempt, CancelRequest, ResidualOrder
from killswitch.cancels.states import LABELS, Status, check_transition
from killswitch.ems.answers import Outcome, TimedCancelAnswer
from killswitch.exchanges.record_open_orders import record_open_orders
from killswitch.runtime.revisions import next_revision

MAX_BODY_BYTES = 64 * 1024  # bytes of an answer that are kept
MAX_ORDERS = 1000  # remaining orders that are stored; the count is exact


class LeaseLost(Exception):
    """Somebody else holds the request now: nothing was changed."""


def record_attempt(
    request_id: int,
    *,
    lease_token: str,
    answer: TimedCancelAnswer,
    next_attempt_at: datetime | None,
) -> None:
    """Keep one call to the EMS, also when the claim was lost meanwhile."""
    # Locked before looking: the first try's commit may still be under way in its own session.
    CancelRequest.objects.select_for_update(no_key=True).get(id=request_id)
    if Attempt.objects.filter(
        request_id=request_id, holder=lease_token, started_at=answer.started_at
    ).exists():
        return  # the commit of the first try had succeeded after all
    _keep(
        request_id,
        Attempt(
            started_at=answer.started_at,
            finished_at=answer.finished_at,
            duration_us=round(answer.duration_ms * 1000),
            http_status=answer.http_status,
            outcome=answer.outcome,
            may_have_been_carried_out=answer.may_have_been_carried_out,
            reject_reason=answer.reject_reason[:200],
            message=answer.message,
            rejected_message=answer.rejected_message,
            trace_id=answer.trace_id[:200],
            body=answer.body[:MAX_BODY_BYTES],
            body_cut=len(answer.body) > MAX_BODY_BYTES or not answer.body_complete,
            transport_error=answer.transport_error,
            holder=lease_token,
        ),
        next_attempt_at=next_attempt_at,
    )


def record_takeover(request_id: int, *, dead_holder: str, lease_token: str) -> None:
    """Note that the request changed hands; a holder that did not let go may have sent it."""
    if dead_holder:
        _keep(
            request_id,
            Attempt(
                finished_at=datetime.now(UTC),
                outcome=Outcome.UNKNOWN,
                may_have_been_carried_out=True,
                transport_error=(
                    "The process that held this request gave no more sign of life;"
                    " whether it had sent the cancel is not known."
                ),
                holder=dead_holder,
                by_dead_holder=True,
            ),
            taken_over_by=lease_token,
        )
        return
    request = CancelRequest.objects.get(id=request_id)
    _touch(request_id)
    chain.append(_fact(Kind.TAKEN_OVER, request, {"dead_holder": "", "holder": lease_token}))


def start_verifying(request_id: int, *, lease_token: str) -> None:
    """The list of open orders decides from here on. Raises `Lost`."""
    if _stands(request_id, lease_token=lease_token, status=Status.VERIFYING):
        return  # the commit of the first try had succeeded after all
    _move(request_id, lease_token=lease_token, before=Status.SENDING, after=Status.VERIFYING)
    _touch(request_id)


def record_read(
    request_id: int, *, lease_token: str, next_attempt_at: datetime | None = None
) -> None:
    """A read of the open orders ended: that is progress. Raises `Lost`."""
    mine = CancelRequest.objects.filter(id=request_id, lease_token=lease_token)
    if not mine.update(reads=F("reads") + 1, next_attempt_at=next_attempt_at):
        raise LeaseLost
    _touch(request_id)


def finish(
    request_id: int,
    *,
    lease_token: str,
    before: Status,
    verdict: Conclusion,
    reading: OpenOrdersAfter | None,
) -> None:
    """The final status, what remained, the event, and an alarm unless it is confirmed.

    Raises `Lost`.
    """
    if _stands(request_id, lease_token=lease_token, status=verdict.status):
        return  # the commit of the first try had succeeded after all
    count = reading.count if reading else None
    _move(
        request_id,
        lease_token=lease_token,
        before=before,
        after=verdict.status,
        conclusion=verdict.sentence,
        reads=F("reads") + int(count == 0),  # the others were counted as they ended
        open_after=count,
        open_after_read_at=reading.at if reading and count is not None else None,
        next_attempt_at=None,
        finished_at=datetime.now(UTC),
    )
    listed = reading.orders.orders[:MAX_ORDERS] if reading and count else ()
    remaining = ResidualOrder.objects.bulk_create(
        ResidualOrder(request_id=request_id, **vars(order)) for order in listed
    )
    revision = _touch(request_id)
    request = CancelRequest.objects.select_related("batch").get(id=request_id)
    if reading and count is not None:
        read_at = reading.orders.started_at
        record_open_orders(
            request.configured_exchange_id, open_orders=count, read_at=read_at, revision=revision
        )
    told = [_finished(request, remaining, reading)]
    if verdict.status is not Status.CONFIRMED:
        told += alarms.raise_alarm(
            kind=AlarmKind.OUTCOME,
            subject=str(request.uuid),
            request_id=str(request.uuid),
            exchange_id=request.exchange_id,
            title=alarm_title(request)[:300],
            detail=verdict.sentence,
            revision=revision,
        )
    chain.append(*told)


def ensure_lease(request_id: int, *, lease_token: str) -> None:
    """Look before sending again: a process may have slept while somebody else finished.

    Raises `Lost`.
    """
    if not CancelRequest.objects.filter(id=request_id, lease_token=lease_token).exists():
        raise LeaseLost


def alarm_title(request: CancelRequest) -> str:
    """What a person reads first: the exchange, and what is known."""
    match Status(request.status):
        case Status.RESIDUAL:
            orders = "order is" if request.open_after == 1 else "orders are"
            return f"{request.exchange_id}: {request.open_after} {orders} still open."
        case Status.REJECTED if request.reject_reason:
            return f"{request.exchange_id}: rejected, {request.reject_reason}."
        case status:
            return f"{request.exchange_id}: {LABELS[status].lower()}."


def _stands(request_id: int, *, lease_token: str, status: Status) -> bool:
    rows = CancelRequest.objects.filter(id=request_id, lease_token=lease_token, status=status)
    return rows.exists()


def _move(
    request_id: int, *, lease_token: str, before: Status, after: Status, **fields: Any
) -> None:
    """The one place where a status changes once a request is held."""
    check_transition(before=before, after=after)
    mine = CancelRequest.objects.filter(id=request_id, lease_token=lease_token, status=before)
    if not mine.update(status=after, **fields):
        raise LeaseLost


def _touch(request_id: int) -> int:
    revision = next_revision()
    CancelRequest.objects.filter(id=request_id).update(revision=revision)
    return revision


def _keep(
    request_id: int,
    kept: Attempt,
    *,
    next_attempt_at: datetime | None = None,
    taken_over_by: str = "",
) -> None:
    # The update locks the row, so that two holders number their attempts apart.
    row = CancelRequest.objects.filter(id=request_id)
    row.update(attempt_count=F("attempt_count") + 1)
    if not kept.by_dead_holder:
        row.filter(lease_token=kept.holder).update(next_attempt_at=next_attempt_at, **_words(kept))
    request = row.get()
    kept.request_id = request_id
    kept.number = request.attempt_count
    kept.save(force_insert=True)
    _touch(request_id)
    told = [_attempted(request, kept)]
    if taken_over_by:
        data = {"dead_holder": kept.holder, "holder": taken_over_by}
        told.append(_fact(Kind.TAKEN_OVER, request, data))
    chain.append(*told)


def _words(kept: Attempt) -> dict[str, str]:
    """The EMS's last words stand with the request; a call that it did not answer has none."""
    if kept.http_status is None:
        return {}
    return {
        "reject_reason": kept.reject_reason,
        "message": kept.message,
        "rejected_message": kept.rejected_message,
    }


def _attempted(request: CancelRequest, kept: Attempt) -> NewEvent:
    # Where to, as this process is set up; of a dead one nobody knows.
    where = "" if kept.by_dead_holder else structured_logs.masked(settings.EMS_BASE_URL)
    data = {"ems": where, **event_data.of_attempt(kept)}
    return _fact(Kind.ATTEMPT, request, data, reject_reason=kept.reject_reason)


def _finished(
    request: CancelRequest, remaining: Sequence[ResidualOrder], reading: OpenOrdersAfter | None
) -> NewEvent:
    data = {
        "batch": str(request.batch.uuid),
        "attempts": request.attempt_count,
        **event_data.of_end(request, remaining),
        "list": event_data.of_list(reading.orders) if reading else None,
    }
    return _fact(Kind.FINISHED, request, data)


def _fact(
    kind: Kind,
    request: CancelRequest,
    data: Mapping[str, Any],
    reject_reason: str | None = None,
) -> NewEvent:
    return NewEvent(
        kind=kind,
        exchange_id=request.exchange_id,
        request_id=str(request.uuid),
        status=request.status,
        reject_reason=request.reject_reason if reject_reason is None else reject_reason,
        data=data,
    )
