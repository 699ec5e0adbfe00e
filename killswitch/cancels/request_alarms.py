"""Raises the alarms of requests, in the caller's recording, with all that is known of a request.

They are read on a phone: a short title with the reason, then one fact on each line. Foreign words
are bounded and escaped, so that none can look like a line of ours.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import raise_alarm, resolve
from killswitch.cancels import event_data
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.states import LABELS, Status
from killswitch.cancels.status_display import reopened_after
from killswitch.runtime.text import escape_controls, truncate

MAX_REASON_CHARS = 80  # in a title
MAX_WORDS_CHARS = 500
OVERTIME = "overtime"  # in the subject of an alarm, in place of the progress
HOLD_LIMITS = (
    "Hold cancels what it sees on the EMS's list. It does not block new orders, and cannot stop one"
    " that fills at once."
)


def raise_outcome_alarm(request: CancelRequest, *, subject: str = "") -> None:
    """Raise the alarm of a request that is over, while orders may still be open.

    Requests with the same `subject` share one alarm; the default is the request itself.
    """
    status = Status(request.status)
    last_attempt = request.attempts.last()
    reason = _reason(request, status, last_attempt)
    summary = ", ".join(filter(None, [LABELS[status].lower(), reason]))
    title = summary
    if status is Status.RESIDUAL:
        title = f"{request.open_after} {'order is' if request.open_after == 1 else 'orders are'}"
        title += " still open"
    _raise_alarm(
        AlarmKind.OUTCOME,
        request,
        title=title,
        summary=summary,
        detail=[
            _escaped(request.conclusion),
            f"Status: {status} ({LABELS[status].lower()})",
            *_facts(request, last_attempt),
        ],
        subject=subject,
    )


def progress(request: CancelRequest) -> str:
    """Return how far a request has come, e.g. "SENDING 3". A takeover is not progress."""
    dead_holders = request.attempts.filter(by_dead_holder=True).count()
    return f"{request.status} {request.attempt_count + request.reads - dead_holders}"


def resolve_stalled_alarms() -> None:
    """Resolve the alarms of requests that have ended, or have made progress since.

    That a request ran past its deadline is only resolved by its end. The subject of an alarm of an
    earlier version is the request alone: its progress then is unknown.
    """
    alarms = list(Alarm.objects.unacknowledged().filter(kind=AlarmKind.STALLED))
    if not alarms:
        return
    requests = CancelRequest.objects.filter(uuid__in={alarm.request_id for alarm in alarms})
    requests_by_uuid = {str(request.uuid): request for request in requests}
    for alarm in alarms:
        if not (request := requests_by_uuid.get(alarm.request_id)):
            continue
        status = Status(request.status)
        _, _, stalled_at = alarm.subject.partition(" ")
        if request.is_final:
            resolution = f"The request has ended: {LABELS[status].lower()}."
        elif stalled_at not in {"", OVERTIME, progress(request)}:
            resolution = f"The request is making progress again: {LABELS[status].lower()}."
        else:
            continue
        resolve([alarm.pk], resolution=resolution)


def raise_stalled_alarm(
    request: CancelRequest, *, title: str, instruction: str, is_overtime: bool = False
) -> None:
    """Raise the alarm of a request in flight; the title says what it does not do.

    There is one for each point at which it stalls, and one if it runs past its deadline.
    """
    status = Status(request.status)
    facts = _facts(request, request.attempts.last())
    status_then = f"Status at that time: {status} ({LABELS[status].lower()})"
    _raise_alarm(
        AlarmKind.STALLED,
        request,
        title=title,
        summary=title,
        detail=[instruction, status_then, *facts],
        subject=f"{request.uuid} {OVERTIME if is_overtime else progress(request)}",
    )


def raise_reopened_alarm(request: CancelRequest, *, listed_at: datetime, doubt: str) -> None:
    """Raise the alarm of a request after whose confirmation the EMS lists open orders again.

    `doubt` is why there may be more orders than were counted, empty if the list was whole.
    """
    count, after = request.reopened_orders, reopened_after(request)
    orders = f"{'at least ' * bool(doubt)}{count} {'order is' if count == 1 else 'orders are'}"
    at = f"{listed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    _raise_alarm(
        AlarmKind.REOPENED,
        request,
        title=f"{orders} open again {after} after the cancel was confirmed",
        summary="orders are open again after the cancel was confirmed",
        detail=[
            "They may be new, or restored by the exchange. Retry, or use “Cancel and hold”."
            f" {HOLD_LIMITS}",
            f"Listed by the EMS at {at}, {after} after its list had confirmed that none was open",
            *([f"There may be more: {_escaped(doubt)}"] if doubt else []),
            *_facts(request, request.attempts.last()),
        ],
        facts=event_data.of_reopening(request),
    )


def _raise_alarm(  # noqa: PLR0913 - the parts of an alarm
    kind: AlarmKind,
    request: CancelRequest,
    *,
    title: str,
    summary: str,
    detail: list[str],
    subject: str = "",
    facts: Mapping[str, Any] | None = None,
) -> None:
    raise_alarm(
        kind=kind,
        subject=subject or str(request.uuid),
        request_id=str(request.uuid),
        exchange_id=request.exchange_id,
        title=f"{request.exchange_id}: {title}{'' if title.endswith('…') else '.'}",
        detail="\n".join(detail),
        batch_id=str(request.batch.uuid),
        batch_size=request.batch.requests.count(),
        summary=summary,
        facts=facts,
    )


def _reason(request: CancelRequest, status: Status, last_attempt: Attempt | None) -> str:
    """Return why it ended so, in a few words, where the status does not say it."""
    error = last_attempt.transport_error if last_attempt else ""
    if last_attempt and last_attempt.by_dead_holder:
        error = "the process handling it did not finish"  # what is recorded there is a sentence
    match status:
        case Status.REJECTED:
            reason = request.reject_reason or (f"“{request.message}”" if request.message else "")
        case Status.NOT_DELIVERED:
            reason = error
        case Status.UNKNOWN:
            reason = request.reject_reason or error
        case _:
            reason = ""
    return _escaped(reason, max_chars=MAX_REASON_CHARS).rstrip(". ")


def _facts(request: CancelRequest, last_attempt: Attempt | None) -> list[str]:
    """Return the EMS's words, what came of the last attempt, and who requested the cancel."""
    lines = []
    if request.reject_reason:
        lines.append(f"Reject reason: {_escaped(request.reject_reason)}")
    if request.message:
        lines.append(f"EMS message: “{_escaped(request.message)}”")
    if request.rejected_message:
        lines.append(f"Rejected message: “{_escaped(request.rejected_message)}”")
    attempts = f"Attempts: {request.attempt_count}"
    if last_attempt:
        http_status = f"HTTP {last_attempt.http_status}" if last_attempt.http_status else ""
        error = _escaped(last_attempt.transport_error).rstrip(". ")
        attempts += f"; the last one: {', '.join(filter(None, [http_status, error]))}"
    batch = request.batch
    by, at = _escaped(batch.by_name), batch.asked_at.astimezone(UTC)
    return [*lines, attempts, f"Requested by {by} at {at:%Y-%m-%d %H:%M:%S} UTC"]


def _escaped(text: str, *, max_chars: int = MAX_WORDS_CHARS) -> str:
    return truncate(escape_controls(text), max_chars)
