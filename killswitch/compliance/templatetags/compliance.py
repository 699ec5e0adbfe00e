"""How the events of the audit log and their reviews are shown."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from django import template

from killswitch.accounts.permissions import Permission, has_permission
from killswitch.audit import review
from killswitch.audit.actors import is_user
from killswitch.audit.export.readable import FINAL_STATUSES
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.query_answers import OpenQuery
from killswitch.audit.verification import explanations
from killswitch.cancels.request_filter_fields import By
from killswitch.cancels.states import Status
from killswitch.cancels.status_display import (
    NEVER_LISTED_BADGE,
    REOPENED_BADGE,
    StatusBadge,
)
from killswitch.compliance import log_page
from killswitch.compliance.event_outcomes import (
    NEVER_LISTED,
    REFUSED,
    REOPENED,
    outcome_at_end,
)
from killswitch.compliance.log_page import LogEntry
from killswitch.compliance.outcomes import Cell, Day
from killswitch.runtime.days import input_type
from killswitch.runtime.http import parse_id

register = template.Library()
register.filter("with_meaning", explanations.with_meaning)
register.filter("suggested_review", log_page.suggested_review)

NO_OUTCOME_BADGE = StatusBadge(icon="half", tone="soft", words="No outcome yet")
# The outcomes that are more than a status.
OUTCOME_BADGES = {
    NEVER_LISTED: StatusBadge(
        icon=NEVER_LISTED_BADGE[0],
        tone=NEVER_LISTED_BADGE[1],
        words="None open, but never listed by the EMS",
    ),
    REFUSED: StatusBadge(icon="no", tone="calm", words="Rejected, none open"),
    REOPENED: StatusBadge(
        icon=REOPENED_BADGE[0], tone=REOPENED_BADGE[1], words="Confirmed, open again later"
    ),
}
NEEDS_REVIEW_BADGE = StatusBadge(icon="half", tone="warn", words="Needs review")
REVIEW_BADGES = {
    "REVIEWED": StatusBadge(icon="ok", tone="good", words="Reviewed"),
    "QUERIED": StatusBadge(icon="ask", tone="odd", words="Query open"),
    "QUERY_ANSWERED": StatusBadge(icon="ask", tone="odd", words="Query answered"),
    "CLOSED": StatusBadge(icon="ok", tone="good", words="Query closed"),
}


@register.filter
def event_badge(entry: LogEntry) -> StatusBadge | None:
    """Return the badge of an outcome, None for a status that only held at the time of the event."""
    event = entry.event
    if event.kind != EventKind.FINISHED or event.status not in FINAL_STATUSES:
        return None
    outcome = outcome_at_end(status=event.status, data=event.data)
    if outcome in OUTCOME_BADGES:
        return OUTCOME_BADGES[outcome]
    return StatusBadge.of(
        Status(event.status), reject_reason=event.reject_reason, open_after=entry.open_after
    )


@register.filter
def outcome_badge(status: str) -> StatusBadge:
    """Return the badge of an outcome in a summary."""
    if status in OUTCOME_BADGES:
        return OUTCOME_BADGES[status]
    return StatusBadge.of(Status(status)) if status in FINAL_STATUSES else NO_OUTCOME_BADGE


@register.simple_tag
def requests_address(
    url: str, first: object, last: object, *, by: str = By.PEOPLE_ONLY, **fields: str
) -> str:
    """Return the address of the list of requests of these days, filtered by these fields."""
    query = {"period": "custom", "from": first, "to": last, "by": by, **fields}
    given = {name: value for name, value in query.items() if value}
    return f"{url}?{urlencode(given, quote_via=quote, safe='')}"


@register.inclusion_tag("compliance/_outcome_cells.html")
def outcome_cells(
    cells: Sequence[Cell],
    requests_url: str,
    first: object,
    last: object,
    by: str = By.PEOPLE_ONLY,
    **fields: str,
) -> dict[str, Any]:
    """Show the numbers of a row, each as a link to the requests that it counts."""
    address = requests_address(requests_url, first, last, by=by, **fields)
    return {"numbers": [(cell.count, f"{address}&outcome={cell.outcome}") for cell in cells]}


@register.inclusion_tag("compliance/_day_counts.html")
def day_counts(
    row: Day, audit_url: str, requests_url: str, *, by: str = By.PEOPLE_ONLY
) -> dict[str, Any]:
    """Show a day, as a link to its requests in the log, and the numbers of people or of Holds."""
    is_of_holds = by == By.HOLDS
    cells = row.hold_cells if is_of_holds else row.cells
    kind = EventKind.HOLD_EPISODE if is_of_holds else EventKind.REQUESTED
    query = urlencode({"from": row.day, "to": row.day, "kind": kind})
    return {
        "day": row.day,
        "log_address": f"{audit_url}?{query}",
        **outcome_cells(cells, requests_url, row.day, row.day, by),
    }


@register.filter
def review_badge(row: Review | None) -> StatusBadge:
    """Return the badge of an event's review."""
    return REVIEW_BADGES.get(row.state, NEEDS_REVIEW_BADGE) if row else NEEDS_REVIEW_BADGE


@register.filter
def next_marks(row: Review | None) -> list[EventKind]:
    """Return the review actions that an event's review allows next."""
    return list(review.FOLLOWING.get(row.state if row else "", ()))


@register.filter
def kind_label(kind: str) -> str:
    """Return the label of an event's kind, or the kind itself if it is unknown."""
    return EventKind(kind).label if kind in EventKind.values else kind


@register.inclusion_tag("compliance/_text_field.html", takes_context=True)
def text_field(
    context: dict[str, Any],
    name: str,
    label: str,
    *,
    placeholder: str = "",
    type: str = "text",  # noqa: A002 - as in HTML
) -> dict[str, Any]:
    """Show a field of the log's filter, with its value, its error and the values in the log."""
    value = context["values"].get(name, "")
    return {
        "name": name,
        "label": label,
        "type": input_type(value, kind=type),
        "placeholder": placeholder,
        "value": value,
        "is_invalid": name in context.get("errors", ()),
        "error": context.get("errors", {}).get(name, ""),
        "suggestions": context.get("suggestions", {}).get(name, ()),
    }


@register.inclusion_tag("compliance/_select_field.html", takes_context=True)
def select_field(
    context: dict[str, Any],
    name: str,
    label: str,
    *,
    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    empty: str,
) -> dict[str, Any]:
    """Show a field of the log's filter that offers groups of values, and its error."""
    typed = context["values"].get(name, "")
    values = {value for _, choices in groups for value, _ in choices}
    selected = getattr(context.get("selection"), name, typed)
    return {
        "name": name,
        "label": label,
        "groups": groups,
        "empty": empty,
        "selected": selected,
        "wrong": "" if selected in values else selected,
        "error": context.get("errors", {}).get(name, ""),
    }


@register.filter
def others(seqs: Sequence[int], log_entries: Iterable[LogEntry]) -> list[int]:
    """Return the numbers of events that are not among these entries."""
    return sorted(set(seqs) - {entry.event.seq for entry in log_entries})


@register.filter
def has_all(seqs: Sequence[int], own: Sequence[int]) -> bool:
    """Return whether all of these events were selected."""
    return set(own) <= set(seqs)


@register.filter
def about_request(queries: Sequence[OpenQuery], request_id: object) -> list[OpenQuery]:
    """Return the queries about one request, perhaps among others of its cancel."""
    return [
        query
        for query in queries
        if any(event.request_id == str(request_id) for event in query.events)
    ]


@register.simple_tag(takes_context=True)
def recorded_answer(context: dict[str, Any]) -> AuditEvent | None:
    """Return this user's answer, after which the browser was sent to this page."""
    seq = parse_id(context["request"].GET.get("answered", ""))
    event = (
        AuditEvent.objects.filter(seq=seq, kind=EventKind.QUERY_ANSWERED).first() if seq else None
    )
    return event if event and is_user(event.actor, context["user"].get_username()) else None


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
