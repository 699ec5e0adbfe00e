"""The open queries as compliance reads and closes them: each question once, with its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from killswitch.accounts.models import User
from killswitch.audit import requesters
from killswitch.audit.actors import is_user
from killswitch.audit.descriptions import describe
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.query_answers import Question, asked_name, group_questions
from killswitch.audit.requesters import Requester
from killswitch.audit.review import MAX_EVENTS, OPEN_QUERY
from killswitch.runtime.text import pluralize_count

MAX_SHOWN: Final = 50
MAX_READ: Final = 1000  # events with an open query


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one person answered, with the first of the rows that contain it."""

    row: Review
    count: int


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A person who has not answered, and whether an active account of that name exists."""

    name: str
    can_answer: bool


@dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """A question with all its events that are still open, as many as one review closes."""

    question: Question | None
    rows: Sequence[Review]
    events: Sequence[AuditEvent]
    waiting_for: Sequence[Asked]
    batch: str  # the cancel, if all events belong to one

    @property
    def seqs(self) -> list[int]:
        return sorted(event.seq for event in self.events)

    @property
    def value(self) -> str:
        """Return the numbers of the events, as the form sends them."""
        return " ".join(map(str, self.seqs))

    @property
    def event(self) -> AuditEvent:
        return self.events[0]

    @property
    def description(self) -> str:
        return describe(self.event)

    @property
    def target(self) -> str:
        """Return the exchange of the events, or the number of exchanges; empty if none."""
        ids = sorted({event.exchange_id for event in self.events if event.exchange_id})
        return pluralize_count(len(ids), "exchange") if len(ids) > 1 else "".join(ids)

    @property
    def state(self) -> Review:
        """Return a row with the state of the question, which is answered when all its rows are."""
        return min(self.rows, key=lambda row: row.state == EventKind.QUERY_ANSWERED)

    @property
    def answers(self) -> Sequence[Answer]:
        by_text: dict[tuple[str, str], list[Review]] = {}
        for row in self.rows:
            if row.state == EventKind.QUERY_ANSWERED:
                by_text.setdefault((row.by, row.note), []).append(row)
        return [Answer(row=same[0], count=len(same)) for same in by_text.values()]

    @property
    def answered(self) -> int:
        return sum(answer.count for answer in self.answers)


@dataclass(frozen=True, kw_only=True)
class OpenQuestions:
    """The newest open questions, and how many events with a query are not among them."""

    shown: Sequence[OpenQuestion]
    more_events: int

    @classmethod
    def now(cls) -> Self:
        """Read the questions, many of them with as many queries as one."""
        open_rows = Review.objects.filter(state__in=OPEN_QUERY)
        rows = list(open_rows.order_by("-review_seq", "event_seq")[:MAX_READ])
        if not rows:
            return cls(shown=[], more_events=0)
        events = AuditEvent.objects.in_bulk([row.event_seq for row in rows])
        rows = [row for row in rows if row.event_seq in events]
        by_id = requesters.of_requests(event.request_id for event in events.values())
        questions = _questions(rows, events=events, requesters_by_id=by_id)
        parts = _parts(rows, questions=questions)[:MAX_SHOWN]
        names = {seq: asked_name(event, by_id) for seq, event in events.items()}
        users = _active_users({names[row.event_seq] for _, part in parts for row in part})
        shown = []
        for question, part in parts:
            of_part = [events[row.event_seq] for row in part]
            asked = {names[row.event_seq]: None for row in part if row.state == EventKind.QUERIED}
            ids = {event.request_id for event in of_part}
            batches = {by_id[each].batch if each in by_id else "" for each in ids}
            waiting_for = [
                Asked(name=name, can_answer=any(is_user(name, user) for user in users))
                for name in asked
            ]
            shown.append(
                OpenQuestion(
                    question=question,
                    rows=part,
                    events=of_part,
                    waiting_for=waiting_for,
                    batch=batches.pop() if len(batches) == 1 else "",
                )
            )
        count = sum(len(item.events) for item in shown)
        return cls(shown=shown, more_events=max(open_rows.count() - count, 0))

    def with_one_of(self, seqs: Sequence[int]) -> OpenQuestion | None:
        """Return the question that has one of these events."""
        return next((item for item in self.shown if not set(seqs).isdisjoint(item.seqs)), None)


def _questions(
    rows: Sequence[Review],
    *,
    events: Mapping[int, AuditEvent],
    requesters_by_id: Mapping[str, Requester],
) -> dict[int, Question]:
    """Return what was asked, by the number of the query or of its answer."""
    newest = AuditEvent.objects.in_bulk({row.review_seq for row in rows})
    # An answer names the query before it.
    query_seqs = {
        seq: max(read(event).numbers("before"), default=0)
        if event.kind == EventKind.QUERY_ANSWERED
        else seq
        for seq, event in newest.items()
    }
    raised = newest | AuditEvent.objects.in_bulk(set(query_seqs.values()) - newest.keys())
    questions = {}
    for row in rows:
        event = raised.get(query_seqs.get(row.review_seq, 0))
        concerned = events.get(row.event_seq)
        if event and concerned:
            requester = requesters_by_id.get(concerned.request_id)
            questions[row.review_seq] = Question(
                seq=event.seq,
                by=event.actor,
                text=read(event).text("note"),
                at=event.at,
                batch=requester.batch if requester else "",
            )
    return questions


def _parts(
    rows: Sequence[Review], *, questions: Mapping[int, Question]
) -> list[tuple[Question | None, Sequence[Review]]]:
    """Return each question, newest first, with its rows, in parts that one review can close."""
    rows_by_question: dict[int, list[Review]] = {}
    for row in sorted(rows, key=lambda row: row.event_seq):
        # A row whose question cannot be found is an item of its own.
        question = questions.get(row.review_seq)
        rows_by_question.setdefault(question.seq if question else -row.event_seq, []).append(row)
    groups: list[tuple[Question | None, list[Review]]] = [
        (group[0], [row for question in group for row in rows_by_question.pop(question.seq)])
        for group in reversed(group_questions({q.seq: q for q in questions.values()}.values()))
    ]
    groups += [(None, of_row) for of_row in rows_by_question.values()]
    return [
        (question, of_group[start : start + MAX_EVENTS])
        for question, of_group in groups
        for start in range(0, len(of_group), MAX_EVENTS)
    ]


def _active_users(names: set[str]) -> list[str]:
    """Return the usernames of those actors that are active users."""
    # An actor of the log is "Full Name (username)" or a bare username.
    usernames = {name.removesuffix(")").rpartition(" (")[2] for name in names} | names
    active = User.objects.filter(is_active=True, username__in=sorted(usernames))
    return list(active.values_list("username", flat=True))
