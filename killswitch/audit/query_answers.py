"""Brings a query of compliance to the person whom it asks, and records the answer.

A query about a request asks its requester, any other one the actor of the event. The answer is an
event; until compliance closes the query, it remains open.

One question about a cancel is recorded as an event for each of its requests. People see, answer and
close it once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import DatabaseError
from django.db.models import Min, QuerySet

from killswitch.audit import requesters
from killswitch.audit.actors import Actor, is_user
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.recorder import recording
from killswitch.audit.requesters import Requester
from killswitch.audit.review import (
    MAX_NOTE_CHARS,
    REVIEW_COLUMNS,
    ReviewConflict,
    ReviewNotRecorded,
    ReviewRefused,
    review_rows,
)
from killswitch.runtime.compiled_query import CompiledQuery

MAX_QUERIES: Final = 500  # unanswered events of the kind `QUERIED`, of all people
MAX_LISTED: Final = 1000  # events that the queries of one user concern
# One action writes its events within this time of each other.
SAME_ACTION = timedelta(seconds=2)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What one event of the kind `QUERIED` asks; `batch` is the cancel, empty if it has none."""

    seq: int
    by: str
    text: str
    at: datetime
    batch: str


@dataclass(frozen=True, kw_only=True)
class OpenQuery:
    """An unanswered query to one person; `seqs` are the events that record it.

    `batch` is the cancel if all of them are about several requests of one, else empty.
    """

    seqs: Sequence[int]
    text: str
    by: str
    at: datetime
    events: Sequence[AuditEvent]
    batch: str

    @property
    def exchange_count(self) -> int:
        return len({event.exchange_id for event in self.events})

    @property
    def seq(self) -> int:
        return self.seqs[0]

    @property
    def value(self) -> str:
        """Return the numbers of the query's events, as the form of the answer sends them."""
        return " ".join(map(str, self.seqs))


def group_questions(questions: Iterable[Question]) -> list[list[Question]]:
    """Return what one person asked in the same words, in one action or about one cancel, as one."""
    groups: list[list[Question]] = []
    newest: dict[tuple[str, str], list[Question]] = {}
    of_cancel: dict[tuple[str, str, str], list[Question]] = {}
    for question in sorted(questions, key=lambda question: question.seq):
        words = (question.by, question.text)
        group = of_cancel.get((*words, question.batch)) if question.batch else None
        if group is None and words in newest:
            is_same_action = question.at - newest[words][-1].at <= SAME_ACTION
            group = newest[words] if is_same_action else None
        if group is None:
            group = []
            groups.append(group)
        group.append(question)
        newest[words] = of_cancel[*words, question.batch] = group
    return groups


def _open_reviews() -> QuerySet[Review]:
    return Review.objects.filter(state=EventKind.QUERIED)


# Every page asks. All events of a query belong to one request, so the first one tells whom it asks.
_newest_queries = CompiledQuery(
    lambda: (
        _open_reviews()
        .values_list("review_seq", "by", "note", "at")
        .annotate(Min("event_seq"))
        .order_by("-review_seq")[:MAX_QUERIES]
    )
)


def unanswered(username: str) -> list[OpenQuery]:
    """Return the queries that this user has not answered yet, oldest first."""
    newest = list(_newest_queries.rows())
    if not newest:
        return []
    events = AuditEvent.objects.defer("data").in_bulk([first_seq for *_, first_seq in newest])
    requesters_by_id = requesters.of_requests(event.request_id for event in events.values())
    questions = []
    for seq, by, text, at, first_seq in newest:
        event = events[first_seq]
        if is_user(asked_name(event, requesters_by_id), username):
            requester = requesters_by_id.get(event.request_id)
            batch = requester.batch if requester else ""
            questions.append(Question(seq=seq, by=by, text=text, at=at, batch=batch))
    if not questions:
        return []
    rows = _open_reviews().filter(review_seq__in=[question.seq for question in questions])
    pairs = rows.order_by("event_seq").values_list("review_seq", "event_seq")[:MAX_LISTED]
    concerned = AuditEvent.objects.defer("data").in_bulk([event_seq for _, event_seq in pairs])
    by_seq: dict[int, list[AuditEvent]] = {}
    for seq, event_seq in pairs:
        by_seq.setdefault(seq, []).append(concerned[event_seq])
    return [_open_query(group, events=by_seq) for group in group_questions(questions)]


def _open_query(
    group: Sequence[Question], *, events: Mapping[int, Sequence[AuditEvent]]
) -> OpenQuery:
    batches = {question.batch for question in group}
    return OpenQuery(
        seqs=[question.seq for question in group],
        text=group[0].text,
        by=group[0].by,
        at=group[0].at,
        events=[event for question in group for event in events.get(question.seq, ())],
        batch=batches.pop() if len(group) > 1 and len(batches) == 1 else "",
    )


def record_answer(
    *, queries: Sequence[int], text: str, by: Actor, username: str, origin: Mapping[str, str]
) -> AuditEvent:
    """Record the answer of the person whom a query asks, and return its last event.

    Those events of the query that have been answered or closed meanwhile remain as they are.
    Raises `ReviewRefused`, `ReviewConflict`, `ReviewNotRecorded`.
    """
    if not text:
        raise ReviewRefused("Write an answer.")
    if len(text) > MAX_NOTE_CHARS:
        raise ReviewRefused(f"The answer is longer than {MAX_NOTE_CHARS} characters.")
    if len(queries) > MAX_QUERIES:
        raise ReviewRefused(f"Answer at most {MAX_QUERIES} queries at once.")
    try:
        with recording() as record:
            asked = Review.objects.select_for_update().filter(
                review_seq__in=queries, state=EventKind.QUERIED
            )
            rows = list(asked.order_by("event_seq"))
            if not rows:
                raise ReviewConflict("This query has been answered or closed.")
            events = AuditEvent.objects.defer("data").in_bulk([row.event_seq for row in rows])
            by_id = requesters.of_requests(event.request_id for event in events.values())
            if not all(is_user(asked_name(event, by_id), username) for event in events.values()):
                raise ReviewRefused("This query is addressed to another user.")
            record.take_revision()  # the pages of this user count one query less
            seqs_by_query: dict[int, list[int]] = {}
            for row in rows:
                seqs_by_query.setdefault(row.review_seq, []).append(row.event_seq)
            for query, seqs in sorted(seqs_by_query.items()):
                first = events[seqs[0]]
                data: dict[str, Any] = {"events": seqs, "note": text, "before": [query], **origin}
                record.event(
                    EventKind.QUERY_ANSWERED,
                    actor=by,
                    exchange_id=first.exchange_id,
                    request_id=first.request_id,
                    data=data,
                )
            answers = record.write_events()
            new_rows = [row for answer in answers for row in review_rows(answer)]
            Review.objects.bulk_update(new_rows, REVIEW_COLUMNS)
    except DatabaseError as error:
        log.warning("answer_not_recorded", error=str(error))
        raise ReviewNotRecorded from error
    return answers[-1]


def asked_name(event: AuditEvent, requesters_by_id: Mapping[str, Requester]) -> str:
    """Return the actor whom a query about this event asks."""
    requester = requesters_by_id.get(event.request_id)
    return requester.name if requester else event.actor
