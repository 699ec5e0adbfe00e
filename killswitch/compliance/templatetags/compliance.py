"""How the events of the audit log, their reviews and a filter are shown."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import template

from killswitch.accounts.models import Role
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.audit import review
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, Kind, Review
from killswitch.cancels.states import LABELS, Status
from killswitch.cancels.status_display import StatusBadge
from killswitch.compliance import log_page
from killswitch.compliance.log_page import LogEntry
from killswitch.runtime.http import parse_id

register = template.Library()
register.filter("suggested_review", log_page.suggested_review)

NO_OUTCOME_BADGE = StatusBadge(icon="clock", tone="busy", words="No outcome yet")
NEEDS_REVIEW_BADGE = StatusBadge(icon="half", tone="warn", words="Needs review")
REVIEW_BADGES = {
    "REVIEWED": StatusBadge(icon="ok", tone="good", words="Reviewed"),
    "QUERIED": StatusBadge(icon="ask", tone="odd", words="Query open"),
    "CLOSED": StatusBadge(icon="ok", tone="good", words="Query closed"),
}


@register.filter
def event_badge(entry: LogEntry) -> StatusBadge | None:
    """Return the badge of the status that an event records, None for an unknown status."""
    event = entry.event
    if event.status not in list(Status):
        return None
    return StatusBadge.of(
        Status(event.status), reject_reason=event.reject_reason, open_after=entry.open_after
    )


@register.filter
def outcome_badge(status: str) -> StatusBadge:
    """Return the badge of an outcome in a summary."""
    return StatusBadge.of(Status(status)) if status in list(Status) else NO_OUTCOME_BADGE


@register.filter
def review_badge(row: Review | None) -> StatusBadge:
    """Return the badge of an event's review."""
    return REVIEW_BADGES.get(row.state, NEEDS_REVIEW_BADGE) if row else NEEDS_REVIEW_BADGE


@register.filter
def next_marks(row: Review | None) -> list[str]:
    """Return the review actions that an event's review allows next."""
    state = row.state if row else ""
    return [str(mark) for mark in review.ReviewAction if mark in review.FOLLOWING.get(state, ())]


@register.filter
def kind_label(kind: str) -> str:
    """Return the label of an event's kind, or the kind itself if it is unknown."""
    return Kind(kind).label if kind in Kind.values else kind


@register.filter
def actor_name(actor: str) -> str:
    """Return who did something, e.g. "Command line (root)" for the `os:root` of the log."""
    if actor.startswith("os:") and " (" not in actor:  # a person's name may begin so as well
        return f"Command line ({actor.removeprefix('os:')})"
    return actor


@register.filter
def person_name(actor: str) -> str:
    """Return a person's full name without the account name that the log keeps with it."""
    return actor.partition(" (")[0]


@register.filter
def role_label(role: str) -> str:
    """Return a role in words."""
    if role == "OPERATING_SYSTEM":
        return "Operating system"
    return str(Role(role).label) if role in Role.values else role


@register.filter
def filter_text(selection: EventFilter) -> str:
    """Return a filter in words, e.g. "20 to 27 Nov 2026, Request finished"."""
    status = selection.status
    parts = [
        _range_text(selection.from_at, selection.to_at),
        kind_label(selection.kind),
        selection.exchange_id,
        f"by {actor_name(selection.actor)}" if selection.actor else "",
        str(LABELS[Status(status)]) if status in list(Status) else status,
        selection.reject_reason,
        f"request {selection.request_id}" if selection.request_id else "",
        f"containing “{selection.text}”" if selection.text else "",
        "unreviewed only" if selection.unreviewed else "",
    ]
    return ", ".join(filter(None, parts))


def _range_text(from_at: datetime | None, to_at: datetime | None) -> str:
    """Return a range of time; one that ends at midnight ends with the day before, as typed."""
    ends_with_day = to_at and to_at.time() == time.min
    last_at = to_at - timedelta(days=1) if to_at and ends_with_day else to_at
    if not last_at:
        return f"since {_time_text(from_at)}" if from_at else ""
    if not from_at:
        return f"until {_time_text(last_at)}"
    if from_at == last_at:
        return _time_text(last_at)
    is_one_month = (from_at.year, from_at.month) == (last_at.year, last_at.month)
    is_short = is_one_month and ends_with_day and from_at.time() == time.min
    return f"{from_at.day if is_short else _time_text(from_at)} to {_time_text(last_at)}"


def _time_text(at: datetime) -> str:
    at = at.astimezone(UTC)
    day = f"{at.day} {at:%b %Y}"
    if at.time() == time.min:
        return day
    return f"{day} {at.time().isoformat()} UTC"


@register.simple_tag(takes_context=True)
def request_events(context: dict[str, Any], request_id: object) -> list[LogEntry]:
    """Return the events of a request, for a user who may read the log."""
    if not has_permission(context["user"], Permission.AUDIT):
        return []
    return log_page.of_request(str(request_id))


@register.simple_tag(takes_context=True)
def recorded_review(context: dict[str, Any]) -> AuditEvent | None:
    """Return the event of the review after which the browser was sent to this page."""
    seq = parse_id(context["request"].GET.get("marked", ""))
    if not seq or not has_permission(context["user"], Permission.AUDIT):
        return None
    return AuditEvent.objects.filter(seq=seq, kind__in=review.REVIEW_ACTIONS).first()
