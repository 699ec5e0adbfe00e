"""How an event of the log looks: the console's marks and words, and the events of a request."""

from collections.abc import Sequence
from typing import Any

from django import template

from killswitch.accounts.decorators import Permission, has_permission
from killswitch.audit import review
from killswitch.audit.models import AuditEvent, Review
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import StatusBadge
from killswitch.compliance import chart, log_page
from killswitch.compliance.log_page import LogEntry

register = template.Library()

OPEN = StatusBadge(icon="clock", tone="busy", words="No outcome yet")
REVIEW_FACES = {
    "REVIEWED": StatusBadge(icon="ok", tone="good", words="Reviewed"),
    "QUERIED": StatusBadge(icon="ask", tone="odd", words="Query open"),
    "CLOSED": StatusBadge(icon="ok", tone="good", words="Query closed"),
}
TO_REVIEW = StatusBadge(icon="half", tone="warn", words="To review")


@register.filter
def event_face(entry: LogEntry) -> StatusBadge | None:
    """The status that an event names, as the console shows it; None for one unknown here."""
    if entry.status not in list(Status):
        return None
    return StatusBadge.of(
        Status(entry.status), reject_reason=entry.reject_reason, open_after=entry.open_after
    )


@register.filter
def status_face(status: str) -> StatusBadge:
    """The same for a status alone."""
    return StatusBadge.of(Status(status)) if status in list(Status) else OPEN


@register.filter
def review_face(state: Review | None) -> StatusBadge:
    """Where the review of an event stands."""
    return REVIEW_FACES.get(state.state, TO_REVIEW) if state else TO_REVIEW


@register.filter
def may_follow(state: Review | None) -> list[str]:
    """What may be said of an event next."""
    before = state.state if state else ""
    return [str(mark) for mark in review.ReviewAction if mark in review.FOLLOWING.get(before, ())]


@register.filter
def turn_of(entries: Sequence[LogEntry]) -> log_page.SuggestedReview | None:
    """What may be said next of a request's events."""
    return log_page.suggested_review(entries)


@register.filter
def lasting(milliseconds: float | None) -> str:
    """A duration of the outcomes' page."""
    return "" if milliseconds is None else chart.duration_text(milliseconds)


@register.simple_tag(takes_context=True)
def events_of(context: dict[str, Any], request_id: object) -> list[LogEntry]:
    """The events of a request, for whoever may read the log."""
    if not has_permission(context["user"], Permission.AUDIT):
        return []
    return log_page.of_request(str(request_id))


@register.simple_tag(takes_context=True)
def just_marked(context: dict[str, Any]) -> AuditEvent | None:
    """The event of the mark from which the browser was sent here."""
    request = context["request"]
    seq = log_page.parse_seq(request.GET.get("marked", ""))
    if not seq or not has_permission(context["user"], Permission.AUDIT):
        return None
    return AuditEvent.objects.filter(seq=seq, kind__in=review.REVIEW_ACTIONS).first()
