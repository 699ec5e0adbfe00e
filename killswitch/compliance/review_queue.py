"""What is left to review: cancels with all their events, other events by kind, open queries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from django.db.models import BooleanField, Count, ExpressionWrapper, Q, Value
from django.db.models.functions import Coalesce

from killswitch.audit import requesters
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.requesters import Requester
from killswitch.audit.review import MAX_EVENTS, unreviewed
from killswitch.cancels.request_outcomes import OUTCOMES as COUNTED
from killswitch.compliance.event_outcomes import (
    NOT_CONFIRMED,
    OUTCOME_DATA,
    OUTCOMES,
    REOPENED,
    REQUEST_OUTCOMES,
    is_reopening,
    outcome_at_end,
)
from killswitch.compliance.open_queries import OpenQuestions
from killswitch.runtime.text import pluralize_count

MAX_CANCEL_EVENTS: Final = 1000
MAX_CANCELS: Final = 100


@dataclass(kw_only=True)
class CancelToReview:
    """The unreviewed events of one cancel, with their number, targets and outcomes."""

    requester: Requester | None
    at: datetime
    request_id: str
    seqs: list[int] = field(default_factory=list)
    exchanges: dict[str, None] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)  # by request

    def add(self, event: AuditEvent, *, outcome: str) -> None:
        """Add an event, of which one review takes only so many; an empty outcome is none."""
        if len(self.seqs) < MAX_EVENTS:
            self.seqs.append(event.seq)
            self.exchanges[event.exchange_id] = None
            self.at = min(self.at, event.at)
            if outcome:
                self.outcomes.setdefault(event.request_id, outcome)

    @property
    def value(self) -> str:
        """Return the numbers of the events, as the form sends them."""
        return " ".join(map(str, sorted(self.seqs)))

    @property
    def target(self) -> str:
        if len(self.exchanges) == 1:
            return next(iter(self.exchanges))
        return pluralize_count(len(self.exchanges), "exchange")

    @property
    def counts(self) -> Sequence[tuple[str, str]]:
        """Return the outcomes, the worst first, each with its number in words."""
        counts = Counter(self.outcomes.values())
        return [
            (outcome, f"{counts[outcome]:,} {COUNTED[REQUEST_OUTCOMES[outcome]].counted}")
            for outcome in reversed(OUTCOMES)
            if counts[outcome]
        ]

    @property
    def is_failed(self) -> bool:
        return not NOT_CONFIRMED.isdisjoint(self.outcomes.values())


@dataclass(frozen=True, kw_only=True)
class ReviewQueue:
    """Unreviewed cancels and other events by kind, and the open questions."""

    unreviewed: Mapping[str, int]
    cancels: Sequence[CancelToReview]
    has_more_cancels: bool
    queries: OpenQuestions

    @classmethod
    def now(cls) -> Self:
        events_left = AuditEvent.objects.filter(unreviewed()).order_by()
        is_of_request = ExpressionWrapper(~Q(request_id=""), output_field=BooleanField())
        # Not by the column itself: SQLite would use the index of the kinds, and read every event.
        kinds = Coalesce("kind", Value(""))
        counts = events_left.values_list(kinds, is_of_request).annotate(Count("seq"))
        left: Counter[str] = Counter()
        of_requests = 0
        for kind, is_of_cancel, count in sorted(counts):
            left[kind] += count
            of_requests += count * bool(is_of_cancel)
        cancels, has_more = _cancels() if of_requests else ([], False)
        return cls(
            unreviewed=dict(left),
            cancels=cancels,
            has_more_cancels=has_more,
            queries=OpenQuestions.now(),
        )

    @property
    def left(self) -> int:
        return sum(self.unreviewed.values())

    @property
    def failed(self) -> Sequence[CancelToReview]:
        return [cancel for cancel in self.cancels if cancel.is_failed]


def _cancels() -> tuple[list[CancelToReview], bool]:
    """Return the cancels with unreviewed events, newest first, and whether there are more."""
    events = AuditEvent.objects.filter(unreviewed()).exclude(request_id="").order_by("-seq")
    rows = events.defer("data").annotate(outcome_data=OUTCOME_DATA)
    newest = list(rows[: MAX_CANCEL_EVENTS + 1])
    by_request = requesters.of_requests(event.request_id for event in newest)
    cancels: dict[str, CancelToReview] = {}
    for event in newest[:MAX_CANCEL_EVENTS]:
        requester = by_request.get(event.request_id)
        key = (requester.batch if requester else "") or event.request_id
        cancel = cancels.setdefault(
            key, CancelToReview(requester=requester, at=event.at, request_id=event.request_id)
        )
        cancel.add(event, outcome=_outcome(event, requester))
    # Later events, such as an alarm, do not move a cancel to another place.
    shown = sorted(list(cancels.values())[:MAX_CANCELS], key=lambda cancel: cancel.at, reverse=True)
    return shown, len(newest) > MAX_CANCEL_EVENTS or len(cancels) > MAX_CANCELS


def _outcome(event: Any, requester: Requester | None) -> str:
    """Return the outcome that an event with its `outcome_data` tells, empty for none."""
    if is_reopening(kind=event.kind, data=event.outcome_data):
        return REOPENED
    if event.kind != EventKind.FINISHED:
        return ""
    outcome = outcome_at_end(status=event.status, data=event.outcome_data)
    is_reopened = event.status == "CONFIRMED" and requester and requester.reopened_seq
    return REOPENED if is_reopened else outcome
