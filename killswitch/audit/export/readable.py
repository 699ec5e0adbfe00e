"""Writes events as CSV for people: names of columns first, then a row of words for each event.

It proves nothing: the other formats have every column as it was hashed. An added column here breaks
no reader, so this format has no number.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from killswitch.audit import requesters
from killswitch.audit.actors import actor_name
from killswitch.audit.chain import HASHED
from killswitch.audit.descriptions import describe
from killswitch.audit.event_reader import read
from killswitch.audit.export import csv_safe
from killswitch.audit.filter_fields import NOT_CONFIRMED_STATUSES, status_labels
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.not_confirmed import is_not_confirmed
from killswitch.audit.requesters import Requester

KIND_LABELS: Final = dict(EventKind.choices)
FINAL_STATUSES: Final = frozenset({"CONFIRMED", *NOT_CONFIRMED_STATUSES})
COLUMNS: Final = (
    "Event number",
    "Time (UTC)",
    "Event",
    "Description",
    "User",
    "Role",
    "Exchange",
    "Status",
    "Not confirmed",
    "Open again, event",
    "Reject reason",
    "Requested by",
    "Reason",
    "Open orders before",
    "Open orders after",
    "Attempts",
    "Checks",
    "Request ID",
    "Event type",
    "Status code",
    "Hash",
)


class ReadableCsvWriter:
    """Writes one row of words for each event, and the requester and reason of every request."""

    content_type = "text/csv; charset=utf-8; header=present"
    export_format = 1
    interrupted = csv_safe.INTERRUPTED

    def header(self, _header: Mapping[str, Any]) -> bytes:
        """Return the names of the columns, after the byte order mark of UTF-8."""
        return f"\ufeff{csv_safe.row(COLUMNS)}".encode()

    def events(self, rows: Sequence[Sequence[Any]]) -> Iterator[bytes]:
        """Yield events, from the values of the hashed columns and the hash."""
        names = (*HASHED, "hash")
        events = [AuditEvent(**dict(zip(names, row, strict=True))) for row in rows]
        by_request = requesters.of_requests(event.request_id for event in events)
        for event in events:
            yield csv_safe.row(_cells(event, by_request.get(event.request_id))).encode()

    def manifest(self, _manifest: Mapping[str, Any]) -> bytes:
        """Return nothing: the last event is the last line."""
        return b""


def time_text(at: datetime) -> str:
    """Return a time in UTC as a spreadsheet reads it."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _cells(event: AuditEvent, requester: Requester | None) -> list[str]:
    data = read(event)
    is_end = event.kind == EventKind.FINISHED
    reopened_seq = requester.reopened_seq if requester and is_end else None
    return [
        str(event.seq),
        time_text(event.at),
        KIND_LABELS.get(event.kind, event.kind),
        describe(event),
        actor_name(event.actor),
        _words(event.role),
        event.exchange_id,
        # Only an end has a status of its own: that of another event, such as a second look, is what
        # the status of the request was at that time.
        status_labels.get(event.status, event.status) if is_end else "",
        ("yes" if is_not_confirmed(event, is_reopened=bool(reopened_seq)) else "no")
        if is_end
        else "",
        str(reopened_seq or ""),
        event.reject_reason,
        actor_name(requester.name) if requester else "",
        requester.reason if requester else "",
        *(data.text(name) for name in ("open_before", "open_after", "attempts", "reads")),
        event.request_id,
        event.kind,
        event.status,
        event.hash,
    ]


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()
