"""What is left to look at: how many events of each kind, and the queries that are open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Count

from killswitch.audit.models import AuditEvent, Review
from killswitch.audit.review import ReviewAction, unreviewed
from killswitch.compliance import log_page
from killswitch.compliance.log_page import LogEntry

MAX_QUERIES: Final = 50


@dataclass(frozen=True, kw_only=True)
class ReviewQueue:
    """`queries` are the events whose query is open, the newest query first."""

    unreviewed: Mapping[str, int]
    queries: Sequence[LogEntry]
    more_queries: int

    @classmethod
    def now(cls) -> Self:
        left = AuditEvent.objects.filter(unreviewed()).order_by()
        queried = Review.objects.filter(state=ReviewAction.QUERIED).order_by(
            "-review_seq", "event_seq"
        )
        seqs = list(queried.values_list("event_seq", flat=True)[:MAX_QUERIES])
        events = AuditEvent.objects.in_bulk(seqs)
        return cls(
            unreviewed=dict(sorted(left.values_list("kind").annotate(Count("seq")))),
            queries=log_page.entries([events[seq] for seq in seqs if seq in events]),
            more_queries=max(queried.count() - MAX_QUERIES, 0),
        )

    @property
    def left(self) -> int:
        return sum(self.unreviewed.values())
