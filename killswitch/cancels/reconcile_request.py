"""Compares the rows of one request with its events. Reads nothing by itself."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from killswitch.audit.models import Kind
from killswitch.audit.reconciliation.comparison import (
    MAX_VALUE_CHARS,
    LoggedEvent,
    compare_columns,
    value_text,
)
from killswitch.audit.reconciliation.registry import Discrepancy
from killswitch.cancels import event_data
from killswitch.cancels.models import Attempt, CancelRequest, ResidualOrder
from killswitch.cancels.states import FINAL, Status

KINDS = (Kind.REQUESTED, Kind.ATTEMPT, Kind.TAKEN_OVER, Kind.FINISHED, Kind.REASON_COMPLETED)


@dataclass(kw_only=True)
class RequestRecord:
    """The rows of one request and its events."""

    request: CancelRequest
    is_unique: bool  # its uuid finds this row and no other
    has_unique_batch: bool  # no other batch has the number or the uuid of its batch
    shown_under: str | None  # the exchange under which the pages show it
    attempts: list[Attempt] = field(default_factory=list)
    orders: list[ResidualOrder] = field(default_factory=list)
    events: list[LoggedEvent] = field(default_factory=list)

    @property
    def request_id(self) -> str:
        return str(self.request.uuid)

    def events_of(self, kind: Kind) -> list[LoggedEvent]:
        return [event for event in self.events if event.kind == kind]


def compare(record: RequestRecord) -> Discrepancy | None:
    """Return the first discrepancy between the tables and the log."""
    name = f"request {record.request_id}"
    if not record.is_unique:
        reason = f"{name}: another row has the same ID"
        return Discrepancy(seq=None, reason=reason)
    requested = record.events_of(Kind.REQUESTED)
    if len(requested) != 1:
        seq = requested[1].seq if requested else None
        reason = f"{name} has {len(requested)} REQUESTED events instead of one"
        return Discrepancy(seq=seq, reason=reason)
    return next(_discrepancies(record, requested[0]), None)


def _discrepancies(record: RequestRecord, requested: LoggedEvent) -> Iterator[Discrepancy]:
    request, batch = record.request, record.request.batch
    name = f"request {record.request_id} ({request.exchange_id:.{MAX_VALUE_CHARS}})"
    yield from compare_columns(
        name,
        requested,
        {"exchange": requested.exchange_id, "by": requested.actor, "role": requested.role},
        found={
            "exchange": request.exchange_id,
            "by": batch.by_name,
            "role": batch.by_role,
            **event_data.of_press(request, batch),
        },
    )
    if record.shown_under != request.exchange_id:
        reason = f"{name} is listed under exchange {value_text(record.shown_under)}"
        yield Discrepancy(seq=requested.seq, reason=reason)
    if not record.has_unique_batch:
        reason = f"{name}: its cancel shares an ID with another one"
        yield Discrepancy(seq=requested.seq, reason=reason)
    yield from _in_completed_reason(name, record)
    yield from _in_attempts(name, record)
    finished = record.events_of(Kind.FINISHED)
    yield from _in_outcome(name, record, finished)
    if not finished:
        yield from _in_flight(name, record)


def _in_completed_reason(name: str, record: RequestRecord) -> Iterator[Discrepancy]:
    batch = record.request.batch
    columns = {
        "reason": batch.completed_reason,
        "completed_at": event_data.utc_text_or_none(batch.completed_at),
    }
    events = record.events_of(Kind.REASON_COMPLETED)
    for event in events:
        yield from compare_columns(name, event, {}, found=columns)
    if not events and any(columns.values()):
        yield Discrepancy(seq=None, reason=f"{name}: its added reason has no event")


def _in_attempts(name: str, record: RequestRecord) -> Iterator[Discrepancy]:
    rows = {attempt.number: attempt for attempt in record.attempts}
    for number, count in Counter(attempt.number for attempt in record.attempts).items():
        if count > 1:
            reason = f"{name} has two attempts with the number {number}"
            yield Discrepancy(seq=None, reason=reason)
    for event in record.events_of(Kind.ATTEMPT):
        attempt = rows.pop(event.facts.get("number", 0), None)
        if attempt is None:
            reason = f"{name}: the attempt of event {event.seq} was deleted or renumbered"
            yield Discrepancy(seq=event.seq, reason=reason)
        else:
            columns = event_data.of_attempt(attempt)
            yield from compare_columns(f"{name}, attempt", event, {}, found=columns)
    for number in rows:
        yield Discrepancy(seq=None, reason=f"{name}: its attempt {number} has no event")
    count, stored = record.request.attempt_count, len(record.attempts)
    if count != stored:
        reason = f"{name}: the count says {count} attempts, but {stored} are stored"
        yield Discrepancy(seq=None, reason=reason)


def _in_outcome(
    name: str, record: RequestRecord, finished: list[LoggedEvent]
) -> Iterator[Discrepancy]:
    request = record.request
    for event in finished[1:]:
        yield Discrepancy(seq=event.seq, reason=f"{name} finished more than once")
    for event in finished:
        # A holder that slept records its attempt even after another one has finished.
        late = [attempt for attempt in record.events_of(Kind.ATTEMPT) if attempt.seq > event.seq]
        yield from compare_columns(
            name,
            event,
            {"status": event.status, "reject_reason": event.reject_reason},
            found={
                **event_data.of_end(request, record.orders),
                "attempts": len(record.attempts) - len(late),
                "status": request.status,
                "reject_reason": request.reject_reason,
            },
        )


def _in_flight(name: str, record: RequestRecord) -> Iterator[Discrepancy]:
    """Yield what a request that has not finished must not contain."""
    request = record.request
    last_seq = record.events[-1].seq
    if request.status in FINAL:
        reason = f"{name} is {request.status}, and no event records that it finished"
        yield Discrepancy(seq=None, reason=reason)
    was_claimed = record.events_of(Kind.ATTEMPT) or record.events_of(Kind.TAKEN_OVER)
    if request.status == Status.REQUESTED and was_claimed:
        reason = f"{name} is {request.status}, and event {last_seq} shows that it was claimed"
        yield Discrepancy(seq=last_seq, reason=reason)
    early = [column for column in ("conclusion", "open_after") if getattr(request, column)]
    if early or record.orders:
        column = early[0] if early else "remaining orders"
        reason = f"{name} has not finished, and already contains {column}"
        yield Discrepancy(seq=None, reason=reason)
