"""Brings a query of compliance to the person whom it asks, and records the answer.

A query about a request asks its requester, any other one the actor of the event. The answer is an
event; until compliance closes the query, it remains open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.db import DatabaseError

from killswitch.audit import requesters
from killswitch.audit.actor_names import is_user
from killswitch.audit.chain import Actor
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.recorder import recording
from killswitch.audit.review import (
    MAX_NOTE_CHARS,
    REVIEW_COLUMNS,
    ReviewConflict,
    ReviewNotRecorded,
    ReviewRefused,
    review_rows,
)

MAX_ROWS: Final = 500  # unanswered queries, of all people

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class OpenQuery:
    """An unanswered query to one person; `seq` is its event."""

    seq: int
    text: str
    row: Review
    events: Sequence[AuditEvent]

    @property
    def event(self) -> AuditEvent:
        return self.events[0]


def unanswered(username: str) -> list[OpenQuery]:
    """Return the queries that this user has not answered yet, oldest first."""
    rows = list(Review.objects.filter(state=EventKind.QUERIED).order_by("-review_seq")[:MAX_ROWS])
    if not rows:
        return []
    events = AuditEvent.objects.in_bulk([row.event_seq for row in rows])
    names = _asked_names(events)
    queries: dict[int, OpenQuery] = {}
    for row in sorted(rows, key=lambda row: (row.review_seq, row.event_seq)):
        if not is_user(names.get(row.event_seq, ""), username):
            continue
        earlier = queries.get(row.review_seq)
        of_query = [*(earlier.events if earlier else ()), events[row.event_seq]]
        queries[row.review_seq] = OpenQuery(
            seq=row.review_seq, text=row.note, row=row, events=of_query
        )
    return list(queries.values())


def record_answer(
    *, query: int, text: str, by: Actor, username: str, origin: Mapping[str, str]
) -> AuditEvent:
    """Record the answer of the person whom a query asks, and return its event.

    Raises `ReviewRefused`, `ReviewConflict`, `ReviewNotRecorded`.
    """
    if not text:
        raise ReviewRefused("Write an answer.")
    if len(text) > MAX_NOTE_CHARS:
        raise ReviewRefused(f"The answer is longer than {MAX_NOTE_CHARS} characters.")
    try:
        with recording() as record:
            asked = Review.objects.select_for_update().filter(
                review_seq=query, state=EventKind.QUERIED
            )
            rows = list(asked.order_by("event_seq"))
            if not rows:
                raise ReviewConflict("This query has been answered or closed.")
            events = AuditEvent.objects.in_bulk([row.event_seq for row in rows])
            names = _asked_names(events)
            if not all(is_user(names.get(row.event_seq, ""), username) for row in rows):
                raise ReviewRefused("This query is addressed to another user.")
            record.take_revision()  # the pages of this user count one query less
            first = events[rows[0].event_seq]
            data: dict[str, Any] = {
                "events": [row.event_seq for row in rows],
                "note": text,
                "before": [query],
                **origin,
            }
            record.event(
                EventKind.QUERY_ANSWERED,
                actor=by,
                exchange_id=first.exchange_id,
                request_id=first.request_id,
                data=data,
            )
            (event,) = record.write_events()
            Review.objects.bulk_update(review_rows(event), REVIEW_COLUMNS)
    except DatabaseError as error:
        log.warning("answer_not_recorded", error=str(error))
        raise ReviewNotRecorded from error
    return event


def _asked_names(events: Mapping[int, AuditEvent]) -> dict[int, str]:
    """Return the actor whom a query about each event asks."""
    by_request = requesters.of_requests(event.request_id for event in events.values())
    return {
        seq: by_request[event.request_id].name if event.request_id in by_request else event.actor
        for seq, event in events.items()
    }
