"""The list of requests as a file for a spreadsheet: a line for each request, newest first.

An export is recorded by an event before its first byte is sent: without the event there is none.
For evidence that can be verified, the audit log has exports of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog
from django.db import DatabaseError
from django.db.models import Min

from killswitch.accounts.models import role_label
from killswitch.audit.actors import Actor, actor_name
from killswitch.audit.export import csv_safe
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels.models import Attempt, CancelRequest, Origin
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_outcomes import OUTCOMES, outcome_name
from killswitch.runtime.age import elapsed_ms

BATCH_ROWS: Final = 500
CONTENT_TYPE: Final = "text/csv; charset=utf-8; header=present"
COLUMNS: Final = (
    "requested_at_utc",
    "exchange_id",
    "exchange_name",
    "status",
    "status_code",
    "reject_reason",
    "conclusion",
    "requested_by",
    "role",
    "reason",
    "added_reason",
    "origin",
    "group",
    "everywhere",
    "retry_of",
    "open_before",
    "open_after",
    "reopened_at_utc",
    "reopened_orders",
    "attempts",
    "checks",
    "first_attempt_at_utc",
    "finished_at_utc",
    "duration_s",
    "request_id",
    "cancel_id",
    "address",
)

log = structlog.get_logger(__name__)


class ExportNotRecorded(Exception):
    """The event of the export could not be recorded, so there is no export."""


def begin(selection: RequestFilter, *, who: Actor, origin: Mapping[str, str]) -> "RequestExport":
    """Record an export before any of it is sent. Raises `ExportNotRecorded`."""
    newest = CancelRequest.objects.order_by("-id").values_list("id", flat=True).first() or 0
    count = selection.requests().filter(pk__lte=newest).count()
    data = {"filter": selection.as_data(), "count": count, **origin}
    try:
        with recording() as record:
            record.event(EventKind.REQUESTS_EXPORTED, actor=who, data=data)
    except DatabaseError as error:
        log.warning("export_not_recorded", kind="REQUESTS_EXPORTED", error=str(error))
        raise ExportNotRecorded from error
    return RequestExport(selection=selection, newest=newest, event=record.events[-1])


@dataclass(frozen=True, kw_only=True)
class RequestExport:
    """A recorded export of the requests up to the row `newest`."""

    selection: RequestFilter
    newest: int
    event: AuditEvent

    @property
    def file_name(self) -> str:
        """Return a unique name; names sort by time."""
        at = self.event.at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"killswitch-requests-{at}-{self.event.seq}.csv"

    def stream(self) -> Iterator[bytes]:
        """Yield the file in chunks. No transaction is open while a chunk is being sent."""
        yield f"\ufeff{csv_safe.row(COLUMNS)}".encode()
        requests = (
            self.selection.requests()
            .select_related("batch__retry_of", "configured_exchange")
            .defer("message", "rejected_message")
        )
        end = self.newest + 1
        while rows := list(requests.filter(pk__lt=end)[:BATCH_ROWS]):
            end = rows[-1].pk
            attempts = Attempt.objects.filter(request__in=rows).order_by()
            began = dict(attempts.values_list("request").annotate(Min("started_at")))
            lines = (csv_safe.row(cells(row, first_attempt_at=began.get(row.pk))) for row in rows)
            yield "".join(lines).encode()


def cells(request: CancelRequest, *, first_attempt_at: datetime | None) -> Sequence[str]:
    """Return the cells of one request, in the order of `COLUMNS`."""
    batch = request.batch
    took_ms = elapsed_ms(start=batch.asked_at, end=request.finished_at)
    if elapsed_ms(start=request.first_claimed_at, end=request.finished_at) is None:
        took_ms = None  # clocks differ
    return (
        _time(batch.asked_at),
        request.exchange_id,
        request.configured_exchange.name,
        OUTCOMES[outcome_name(request)].label,
        request.status,
        request.reject_reason,
        request.conclusion,
        actor_name(batch.by_name),
        role_label(batch.by_role),
        batch.reason,
        batch.completed_reason,
        Origin(batch.origin).label,
        batch.group_name,
        "yes" if batch.everywhere else "no",
        str(batch.retry_of.uuid) if batch.retry_of else "",
        _number(request.open_before),
        _number(request.open_after),
        _time(request.reopened_at),
        _number(request.reopened_orders),
        str(request.attempt_count),
        str(request.reads),
        _time(first_attempt_at),
        _time(request.finished_at),
        "" if took_ms is None else f"{took_ms / 1000:.3f}",
        str(request.uuid),
        str(batch.uuid),
        batch.address,
    )


def _time(at: datetime | None) -> str:
    """Return a time as spreadsheets read one."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if at else ""


def _number(value: int | None) -> str:
    return "" if value is None else str(value)
