"""Records what happens to a request after its claim: each attempt, each read, the final status.

Every function opens a recording or joins its caller's. Those that change the request itself compare
the lease and raise `LeaseLost`. After a commit that was cut off they may be called again: what the
first try has recorded after all is not recorded twice.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models import F

from killswitch import structured_logs
from killswitch.audit.actors import SYSTEM, Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import Recording, recording
from killswitch.cancels import event_data
from killswitch.cancels.conclusion import Conclusion, OpenOrdersAfter
from killswitch.cancels.models import Attempt, CancelRequest, ResidualOrder
from killswitch.cancels.request_alarms import raise_outcome_alarm
from killswitch.cancels.states import Status, check_transition
from killswitch.ems.answers import Outcome, TimedCancelAnswer
from killswitch.exchanges.services import record_open_orders

MAX_STORED_BODY_BYTES = 64 * 1024
MAX_STORED_ORDERS = 1000  # of those that remain; their count is exact


class LeaseLost(Exception):
    """Another process holds the request now; it was not changed."""


def record_attempt(
    request_id: int,
    lease_token: str,
    *,
    answer: TimedCancelAnswer,
    next_attempt_at: datetime | None,
) -> None:
    """Record one call to the EMS, also when the lease was lost meanwhile."""
    with recording() as record:
        # Locked before the check: the first try's commit may still be under way in its own session.
        CancelRequest.objects.select_for_update(no_key=True).get(id=request_id)
        if Attempt.objects.filter(
            request_id=request_id, holder=lease_token, started_at=answer.started_at
        ).exists():
            return
        attempt = Attempt(
            request_id=request_id,
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
            body=answer.body[:MAX_STORED_BODY_BYTES],
            body_cut=len(answer.body) > MAX_STORED_BODY_BYTES or not answer.body_complete,
            transport_error=answer.transport_error,
            holder=lease_token,
        )
        # The request keeps the EMS's last words; an answer without any leaves them as they are,
        # unless it accepts what was refused before.
        columns: tuple[str, ...] = ("reject_reason", "message", "rejected_message")
        has_words = any(getattr(attempt, name) for name in columns)
        if not has_words and answer.outcome is not Outcome.ACKNOWLEDGED:
            columns = ()
        CancelRequest.objects.filter(id=request_id, lease_token=lease_token).update(
            next_attempt_at=next_attempt_at, **{name: getattr(attempt, name) for name in columns}
        )
        _add_attempt(record, attempt, ems=structured_logs.masked(settings.EMS_BASE_URL))


def record_takeover(request_id: int, *, dead_holder: str, lease_token: str) -> None:
    """Record that a request changed hands.

    `dead_holder` is the token of a holder that did not release it, which may have sent a cancel.
    """
    with recording() as record:
        if dead_holder:
            attempt = Attempt(
                request_id=request_id,
                finished_at=datetime.now(UTC),
                outcome=Outcome.UNKNOWN,
                may_have_been_carried_out=True,
                transport_error=(
                    "The process handling this request did not finish it. It is not known whether"
                    " it had sent the cancel."
                ),
                holder=dead_holder,
                by_dead_holder=True,
            )
            request = _add_attempt(record, attempt, ems="")
        else:
            rows = CancelRequest.objects.filter(id=request_id)
            record.changed(rows)
            request = rows.get()
        data = {"dead_holder": dead_holder, "holder": lease_token}
        _add_event(record, EventKind.TAKEN_OVER, request, data=data)


def start_verifying(request_id: int, lease_token: str) -> None:
    """Move to VERIFYING: from here on the list of open orders decides. Raises `LeaseLost`."""
    with recording() as record:
        if _move(request_id, lease_token, before=Status.SENDING, after=Status.VERIFYING):
            record.changed(CancelRequest.objects.filter(id=request_id))


def record_read(
    request_id: int, lease_token: str, *, next_attempt_at: datetime | None = None
) -> None:
    """Count a read of the open orders that has ended, which is progress. Raises `LeaseLost`."""
    with recording() as record:
        mine = CancelRequest.objects.filter(id=request_id, lease_token=lease_token)
        if not mine.update(reads=F("reads") + 1, next_attempt_at=next_attempt_at):
            raise LeaseLost
        record.changed(CancelRequest.objects.filter(id=request_id))


def finish(  # noqa: PLR0913 - whose request, and what came of it
    request_id: int,
    lease_token: str,
    *,
    before: Status,
    conclusion: Conclusion,
    last_list: OpenOrdersAfter | None,
    is_alarm: bool = True,
    alarm_subject: str = "",
    finished_at: datetime | None = None,
    by: Actor = SYSTEM,
) -> bool:
    """Record the final status, the orders that remain, and an alarm if it needs attention.

    With `is_alarm` False there is no alarm; `alarm_subject` makes one alarm of those of several
    requests. `finished_at` is the time of an end that was journaled before, and `by` the person who
    ended it. Return False when a first try has recorded it after all. Raises `LeaseLost`.
    """
    count = last_list.count if last_list else None
    with recording() as record:
        if not _move(
            request_id,
            lease_token,
            before=before,
            after=conclusion.status,
            conclusion=conclusion.sentence,
            reads=F("reads") + int(last_list is not None and not last_list.is_counted),
            open_after=count,
            open_after_read_at=last_list.read_at if last_list and count is not None else None,
            next_attempt_at=None,
            finished_at=finished_at or datetime.now(UTC),
        ):
            return False
        orders = last_list.answer.orders[:MAX_STORED_ORDERS] if last_list and count else ()
        residual_orders = ResidualOrder.objects.bulk_create(
            ResidualOrder(request_id=request_id, **vars(order)) for order in orders
        )
        CancelRequest.objects.filter(id=request_id).update(
            revision=record.revision, finished_revision=record.revision
        )
        request = CancelRequest.objects.select_related("batch").get(id=request_id)
        if last_list and count is not None and not last_list.answer.may_have_more:
            record_open_orders(
                request.configured_exchange_id,
                open_orders=count,
                read_at=last_list.answer.started_at,
                revision=record.revision,
            )
        data = {
            "batch": str(request.batch.uuid),
            "attempts": request.attempt_count,
            **event_data.of_end(request, residual_orders),
            "list": event_data.of_list(last_list.answer) if last_list else None,
        }
        _add_event(record, EventKind.FINISHED, request, data=data, actor=by)
        if request.needs_attention and is_alarm:
            raise_outcome_alarm(request, subject=alarm_subject)
    return True


def ensure_lease(request_id: int, lease_token: str) -> None:
    """Raise `LeaseLost` unless the lease is still held.

    Called before sending again: while this process slept, another one may have finished.
    """
    if not CancelRequest.objects.filter(id=request_id, lease_token=lease_token).exists():
        raise LeaseLost


def _move(
    request_id: int, lease_token: str, *, before: Status, after: Status, **fields: Any
) -> bool:
    """Change the status of a claimed request. No other function does. Raises `LeaseLost`.

    Return False when the status was changed by a first try, whose commit succeeded after all.
    """
    check_transition(before=before, after=after)
    mine = CancelRequest.objects.filter(id=request_id, lease_token=lease_token)
    if mine.filter(status=after).exists():
        return False
    if not mine.filter(status=before).update(status=after, **fields):
        raise LeaseLost
    return True


def _add_attempt(record: Recording, attempt: Attempt, *, ems: str) -> CancelRequest:
    """Number and store an attempt, with its event, and return the request."""
    row = CancelRequest.objects.filter(id=attempt.request_id)
    # The UPDATE locks the row, so that two processes do not use the same number.
    row.update(attempt_count=F("attempt_count") + 1)
    request = row.get()
    attempt.number = request.attempt_count
    attempt.save(force_insert=True)
    record.changed(row)
    data = {"ems": ems, **event_data.of_attempt(attempt)}
    _add_event(record, EventKind.ATTEMPT, request, data=data, reject_reason=attempt.reject_reason)
    return request


def _add_event(  # noqa: PLR0913 - each is one column
    record: Recording,
    kind: EventKind,
    request: CancelRequest,
    *,
    data: Mapping[str, Any],
    reject_reason: str | None = None,
    actor: Actor = SYSTEM,
) -> None:
    record.event(
        kind,
        actor=actor,
        exchange_id=request.exchange_id,
        request_id=str(request.uuid),
        status=request.status,
        reject_reason=request.reject_reason if reject_reason is None else reject_reason,
        data=data,
    )
