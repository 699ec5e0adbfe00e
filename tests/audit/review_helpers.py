"""Reviews events, and returns those that are still unreviewed."""

from typing import Any

from killswitch.audit import review
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent
from killswitch.audit.review import ReviewInput
from tests.audit.request_factories import CARL


def marked(mark: str, *seqs: int, note: str = "", **more: Any) -> AuditEvent:
    facts: dict[str, Any] = {"by": CARL, "origin": {"address": "10.0.0.7"}} | more
    return review.record_review(ReviewInput(mark=mark, seqs=seqs, note=note, **facts))


def left() -> list[int]:
    events = EventFilter(unreviewed=True).events()
    return list(events.order_by("seq").values_list("seq", flat=True))


def log_of(kind: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind=kind).order_by("seq"))
