"""What is left to review: the number of events of each kind, and the open queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Count

from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.review import unreviewed
from killswitch.compliance import log_page
from killswitch.compliance.log_page import LogEntry

MAX_QUERIES: Final = 50


@dataclass(frozen=True, kw_only=True)
class ReviewQueue:
    """Unreviewed events by kind, and the events with an open query, newest query first."""

    unreviewed: Mapping[str, int]
    queries: Sequence[LogEntry]
    more_queries: int

    @classmethod
    def now(cls) -> Self:
        events_left = AuditEvent.objects.filter(unreviewed()).order_by()
        open_queries = Review.objects.filter(state=EventKind.QUERIED).order_by(
            "-review_seq", "event_seq"
        )
        seqs = list(open_queries.values_list("event_seq", flat=True)[:MAX_QUERIES])
        events = AuditEvent.objects.in_bulk(seqs)
        return cls(
            unreviewed=dict(sorted(events_left.values_list("kind").annotate(Count("seq")))),
            queries=log_page.entries([events[seq] for seq in seqs if seq in events]),
            more_queries=max(open_queries.count() - MAX_QUERIES, 0),
        )

    @property
    def left(self) -> int:
        return sum(self.unreviewed.values())
