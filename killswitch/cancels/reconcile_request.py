"""What the rows of one request must say, given its events. Pure: it reads nothing by itself."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from killswitch.audit.models import Kind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    LoggedEvent,
    compare_columns,
    value_text,
)
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.cancels import event_data
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder
from killswitch.cancels.states import FINAL, Status

KINDS = (Kind.REQUESTED, Kind.ATTEMPT, Kind.TAKEN_OVER, Kind.FINISHED, Kind.REASON_COMPLETED)


@dataclass(kw_only=True)
class RequestRecord:
    """Everything that the tables and the log hold of one request."""

    request: CancelRequest
    is_found_alone: bool  # by its uuid: no other row is found, and this one is
    has_one_press: bool  # no other press has its number or its uuid
    shown_under: str | None  # the exchange in whose row the pages show it
    attempts: list[Attempt] = field(default_factory=list)
    orders: list[ResidualOrder] = field(default_factory=list)
    events: list[LoggedEvent] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return str(self.request.uuid)

    def of(self, kind: Kind) -> list[LoggedEvent]:
        return [event for event in self.events if event.kind == kind]


def compare(case: RequestRecord) -> Discrepancy | None:
    """The first thing on which tables and log do not agree."""
    name = f"request {case.request_id}"
    if not case.is_found_alone:
        reason = f"{name} stands in the table, and is not what is found there by its id"
        return Discrepancy(seq=None, reason=reason)
    asked = case.of(Kind.REQUESTED)
    if len(asked) != 1:
        which = asked[1].seq if asked else None
        reason = f"{name} stands in the table, and {len(asked)} events say that it was asked for"
        return Discrepancy(seq=which, reason=reason)
    return next(_differences(case, case.request, asked[0]), None)


def _differences(
    case: RequestRecord, request: CancelRequest, asked: LoggedEvent
) -> Iterator[Discrepancy]:
    name = f"request {case.request_id} ({request.exchange_id:.{MAX_VALUE_CHARS}})"
    columns = {"exchange": asked.exchange_id, "by": asked.actor, "role": asked.role}
    yield from compare_columns(name, asked, columns, found=_press(request, request.batch))
    if case.shown_under != request.exchange_id:
        reason = f"{name} is shown as one of {value_text(case.shown_under)}"
        yield Discrepancy(seq=asked.seq, reason=reason)
    if not case.has_one_press:
        reason = f"{name}: its press is not the only one with its id"
        yield Discrepancy(seq=asked.seq, reason=reason)
    yield from _completion(name, case, request.batch)
    yield from _attempts(name, case, request)
    yield from _ends(name, case, request)
    if not case.of(Kind.FINISHED):
        yield from _in_flight(name, case, request)


def _ends(name: str, case: RequestRecord, request: CancelRequest) -> Iterator[Discrepancy]:
    finished = case.of(Kind.FINISHED)
    for event in finished[1:]:
        yield Discrepancy(seq=event.seq, reason=f"{name} finished more than once")
    for event in finished:
        columns = {"status": event.status, "reject_reason": event.reject_reason}
        found = event_data.of_end(request, case.orders) | {
            "attempts": _attempts_before(event, case)
        }
        found |= {"status": request.status, "reject_reason": request.reject_reason}
        yield from compare_columns(name, event, columns, found=found)


def _press(request: CancelRequest, batch: Batch) -> dict[str, Any]:
    columns = {"exchange": request.exchange_id, "by": batch.by_name, "role": batch.by_role}
    return columns | event_data.of_press(request, batch)


def _completion(name: str, case: RequestRecord, batch: Batch) -> Iterator[Discrepancy]:
    """The reason is completed once, and only with an event."""
    found = {
        "reason": batch.completed_reason,
        "completed_at": event_data.instant(batch.completed_at),
    }
    events = case.of(Kind.REASON_COMPLETED)
    for event in events:
        yield from compare_columns(name, event, {}, found=found)
    if not events and any(found.values()):
        yield Discrepancy(seq=None, reason=f"{name}: no event completed its reason")


def _attempts(name: str, case: RequestRecord, request: CancelRequest) -> Iterator[Discrepancy]:
    rows = {attempt.number: attempt for attempt in case.attempts}
    for number in _twice(case.attempts):
        reason = f"{name} has two attempts with the number {number}"
        yield Discrepancy(seq=None, reason=reason)
    for event in case.of(Kind.ATTEMPT):
        attempt = rows.pop(event.facts.get("number", 0), None)
        if attempt is None:
            reason = f"{name}: the attempt of event {event.seq} was deleted or renumbered"
            yield Discrepancy(seq=event.seq, reason=reason)
        else:
            yield from compare_columns(
                f"{name}, attempt", event, {}, found=event_data.of_attempt(attempt)
            )
    for number in rows:
        yield Discrepancy(seq=None, reason=f"{name}: no event tells of its attempt {number}")
    if request.attempt_count != len(case.attempts):
        reason = f"{name} counts {request.attempt_count} attempts and has {len(case.attempts)}"
        yield Discrepancy(seq=None, reason=reason)


def _twice(attempts: list[Attempt]) -> list[int]:
    """Numbers that more than one has; the pages would show them all."""
    times = Counter(attempt.number for attempt in attempts)
    return [number for number, count in times.items() if count > 1]


def _attempts_before(end: LoggedEvent, case: RequestRecord) -> int:
    """How many rows there were: a holder that slept keeps its answer after another has finished."""
    late = [event for event in case.of(Kind.ATTEMPT) if event.seq > end.seq]
    return len(case.attempts) - len(late)


def _in_flight(name: str, case: RequestRecord, request: CancelRequest) -> Iterator[Discrepancy]:
    """What is not known yet must not stand there."""
    last = case.events[-1].seq
    if request.status in FINAL:
        reason = f"{name} is {request.status}, and no event says that it finished"
        yield Discrepancy(seq=None, reason=reason)
    if request.status == Status.REQUESTED and (case.of(Kind.ATTEMPT) or case.of(Kind.TAKEN_OVER)):
        reason = f"{name} is {request.status}, and event {last} says that it was under way"
        yield Discrepancy(seq=last, reason=reason)
    early = [column for column in ("conclusion", "open_after") if getattr(request, column)]
    if early or case.orders:
        what = early[0] if early else "remaining orders"
        yield Discrepancy(seq=None, reason=f"{name}: {what} stand there, and it has not finished")
