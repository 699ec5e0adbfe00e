"""How an event of the log looks: the console's marks and words, and the events of a request."""

from collections.abc import Sequence
from typing import Any

from django import template

from killswitch.accounts.decorators import Permission, may
from killswitch.audit import review
from killswitch.audit.models import AuditEvent, Review
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import Face
from killswitch.compliance import chart, log_page
from killswitch.compliance.log_page import Entry

register = template.Library()

OPEN = Face(icon="clock", tone="busy", words="No outcome yet")
REVIEW_FACES = {
    "REVIEWED": Face(icon="ok", tone="good", words="Reviewed"),
    "QUERIED": Face(icon="ask", tone="odd", words="Query open"),
    "CLOSED": Face(icon="ok", tone="good", words="Query closed"),
}
TO_REVIEW = Face(icon="half", tone="warn", words="To review")


@register.filter
def event_face(entry: Entry) -> Face | None:
    """The status that an event names, as the console shows it; None for one unknown here."""
    if entry.status not in list(Status):
        return None
    return Face.of(
        Status(entry.status), reject_reason=entry.reject_reason, open_after=entry.open_after
    )


@register.filter
def status_face(status: str) -> Face:
    """The same for a status alone."""
    return Face.of(Status(status)) if status in list(Status) else OPEN


@register.filter
def review_face(state: Review | None) -> Face:
    """Where the review of an event stands."""
    return REVIEW_FACES.get(state.state, TO_REVIEW) if state else TO_REVIEW


@register.filter
def may_follow(state: Review | None) -> list[str]:
    """What may be said of an event next."""
    before = state.state if state else ""
    return [str(mark) for mark in review.Mark if mark in review.FOLLOWING.get(before, ())]


@register.filter
def turn_of(entries: Sequence[Entry]) -> log_page.Turn | None:
    """What may be said next of a request's events."""
    return log_page.turn_of(entries)


@register.filter
def lasting(milliseconds: float | None) -> str:
    """A duration of the outcomes' page."""
    return "" if milliseconds is None else chart.words(milliseconds)


@register.simple_tag(takes_context=True)
def events_of(context: dict[str, Any], request_id: object) -> list[Entry]:
    """The events of a request, for whoever may read the log."""
    if not may(context["user"], Permission.AUDIT):
        return []
    return log_page.of_request(str(request_id))


@register.simple_tag(takes_context=True)
def just_marked(context: dict[str, Any]) -> AuditEvent | None:
    """The event of the mark from which the browser was sent here."""
    request = context["request"]
    seq = log_page.number(request.GET.get("marked", ""))
    if not seq or not may(context["user"], Permission.AUDIT):
        return None
    return AuditEvent.objects.filter(seq=seq, kind__in=review.MARKS).first()
