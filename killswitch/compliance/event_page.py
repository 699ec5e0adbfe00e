"""One event for an auditor: every column, its hash recomputed, its reviews."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from killswitch.audit import canonical_json, chain, event_reader
from killswitch.audit.models import AuditEvent
from killswitch.compliance import log_page
from killswitch.compliance.log_page import LogEntry

MAX_REVIEWS: Final = 20


@dataclass(frozen=True, kw_only=True)
class EventPage:
    """`computed` is the hash of the columns now; `linked`: the event before it matches.

    `error` is why the hash cannot be computed.
    """

    entry: LogEntry
    computed: str
    error: str
    linked: bool
    newer: int | None
    older: int | None
    reviews: Sequence[LogEntry]

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        before = AuditEvent.objects.filter(seq=event.seq - 1).first()
        (entry,) = log_page.entries([event], whole=True)
        digest = error = ""
        try:
            digest = chain.digest(event)
        except canonical_json.NotCanonical as exception:
            error = str(exception)
        return cls(
            entry=entry,
            computed=digest,
            error=error,
            linked=event.previous == (before.hash if before else chain.GENESIS),
            newer=event.seq + 1 if event.seq < chain.head().seq else None,
            older=before.seq if before else None,
            reviews=log_page.entries(_reviews(entry)),
        )

    @property
    def seqs(self) -> list[int]:
        """Return the events that a review on this page applies to."""
        return [self.entry.event.seq]

    @property
    def is_intact(self) -> bool:
        return self.computed == self.entry.event.hash and self.linked


def _reviews(entry: LogEntry) -> list[AuditEvent]:
    """Return the reviews of an event, newest first: each names the one before it."""
    reviews: list[AuditEvent] = []
    seq = entry.review.review_seq if entry.review else None
    while seq and len(reviews) < MAX_REVIEWS:
        event = AuditEvent.objects.filter(seq=seq).first()
        if event is None or event in reviews:
            break
        reviews.append(event)
        seq = max(event_reader.read(event).numbers("before"), default=None)
    return reviews
