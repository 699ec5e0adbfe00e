"""Who requested each cancel, why, and whether orders were open again, read from the log alone.

The system records the outcome of a request; these facts are in other events of the request.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from django.db.models import Case, Q, TextField, Value, When

from killswitch.audit.event_reader import EventData, parse
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.not_confirmed import REOPENED_ALARM

MAX_IDS: Final = 500  # in one query
BREAK_GLASS: Final = "BREAK_GLASS"  # the origin in the data of a request and of its end


@dataclass(frozen=True, kw_only=True)
class Requester:
    """The person, or the system, that requested a cancel on one exchange."""

    name: str
    role: str
    reason: str
    batch: str
    is_by_break_glass: bool = False
    has_later_reason: bool = False
    reopened_seq: int | None = None  # the alarm that orders were open again after CONFIRMED


def of_outcome(data: EventData) -> Requester | None:
    """Return the requester that the event of an outcome names; older ones name none."""
    if not data.text("requested_by"):
        return None
    return Requester(
        name=data.text("requested_by"),
        role="",
        reason=data.text("reason"),
        batch=data.text("batch"),
        is_by_break_glass=data.text("origin") == BREAK_GLASS,
    )


def of_requests(request_ids: Iterable[str]) -> dict[str, Requester]:
    """Return the requesters by the IDs of their requests, with the reason that was added later."""
    ids = sorted({request_id for request_id in request_ids if request_id})
    requesters: dict[str, Requester] = {}
    for start in range(0, len(ids), MAX_IDS):
        for seq, request_id, kind, actor, role, text in _rows(ids[start : start + MAX_IDS]):
            data = EventData(facts=parse(text))
            if kind == EventKind.REQUESTED:
                requester = Requester(
                    name=actor,
                    role=role,
                    reason=data.text("reason"),
                    batch=data.text("batch"),
                    is_by_break_glass=data.text("origin") == BREAK_GLASS,
                )
                requesters.setdefault(request_id, requester)
            elif kind == EventKind.REASON_COMPLETED and request_id in requesters:
                requesters[request_id] = replace(
                    requesters[request_id], reason=data.text("reason"), has_later_reason=True
                )
            elif data.text("alarm_kind") and request_id in requesters:
                requesters[request_id] = replace(requesters[request_id], reopened_seq=seq)
    return requesters


def _rows(ids: list[str]) -> Iterable[tuple[int, str, str, str, str, str]]:
    """Return the events of these requests, without the data of attempts, which may be long."""
    # Not filtered by kind: SQLite would go through all events of these kinds.
    reopened = Q(kind=EventKind.ALARM_RAISED, data__contains=REOPENED_ALARM)
    wanted = Q(kind__in=[EventKind.REQUESTED, EventKind.REASON_COMPLETED]) | reopened
    data = Case(When(wanted, then="data"), default=Value(""), output_field=TextField())
    events = AuditEvent.objects.filter(request_id__in=ids).order_by("seq")
    return events.values_list("seq", "request_id", "kind", "actor", "role", data)
