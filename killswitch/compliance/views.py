"""The audit log for compliance: read it and sign it off. Events are never changed."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit import review, sign_off_period
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.sign_off_period import Period, SignOffRefused
from killswitch.compliance import chart, event_outcomes, log_filter, outcomes
from killswitch.compliance.event_page import EventPage
from killswitch.compliance.log_page import LogPage
from killswitch.compliance.new_events import NewEvents
from killswitch.compliance.review_views import note_of
from killswitch.compliance.sign_offs import SignOff, latest_sign_offs
from killswitch.compliance.verification_badge import Badge
from killswitch.runtime.filter_values import PAGE_SIZES, InvalidFilter
from killswitch.runtime.http import MAX_ID, see_other


@requires(Permission.AUDIT)
@never_cache
@require_safe
def log(request: HttpRequest) -> HttpResponse:
    """Show one page of the events that the filter selects."""
    today = datetime.now(UTC).date()
    context: dict[str, Any] = {
        "badge": Badge.now(),
        "values": log_filter.form_values(request.GET.dict()),
        "kinds": log_filter.kind_choices(),
        "statuses": log_filter.status_choices(),
        "suggestions": log_filter.suggestions(),
        "day_links": log_filter.day_links(request.GET, today=today),
        "useful_filters": log_filter.useful_filters(request.GET, today=today),
    }
    try:
        selection = EventFilter.from_query(request.GET)
        selection.check_names()
        news = NewEvents.none_yet(selection)  # before the page, so that no event falls in between
        page = LogPage.of(selection, query=request.GET)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/log.html", context, status=400)
    query = request.GET.copy()
    query.pop("marked", None)
    here = f"{request.path}?{query.urlencode()}" if query else request.path
    context |= {"selection": selection, "page": page, "news": news, "here": here}
    context["sizes"] = PAGE_SIZES
    return render(request, "compliance/log.html", context)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def event(request: HttpRequest, seq: int) -> HttpResponse:
    """Show one event with every column, its recomputed hash, and its reviews."""
    page = EventPage.of(_get_event(seq))
    context = {"page": page, "entry": page.entry, "here": request.path}
    return render(request, "compliance/event.html", context)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def outcomes_by_day(request: HttpRequest) -> HttpResponse:
    """Show the outcomes of the requests of each day, as a chart and as a table."""
    context: dict[str, Any] = {
        "values": log_filter.form_values(request.GET.dict()),
        "statuses": event_outcomes.OUTCOMES,
    }
    try:
        today = datetime.now(UTC).date()
        date_range = outcomes.DateRange.of(_time_range(request.GET), today=today)
        found = outcomes.of_range(date_range)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/outcomes.html", context, status=400)
    days = found.days
    counts = sum((day.counts for day in days), Counter())
    hold_counts = sum((day.hold_counts for day in days), Counter())
    context["values"] = {
        "from": f"{date_range.first}",
        "to": f"{date_range.last}",
    } | context["values"]
    context |= {
        "range": date_range,
        "is_default": not request.GET,
        "days": list(reversed(days)),
        "totals": outcomes.cells_of(counts),
        "total": counts.total(),
        "hold_totals": outcomes.cells_of(hold_counts),
        "hold_total": hold_counts.total(),
        "chart": chart.draw(days),
        "breakdowns": {"exchange": found.by_exchange, "user": found.by_person},
    }
    return render(request, "compliance/outcomes.html", context)


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_offs(request: HttpRequest) -> HttpResponse:
    """Show the signed-off periods and a preview of another one (GET); sign it off (POST)."""
    data = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {
        "values": log_filter.form_values(data.dict()),
        "note": data.get("note", ""),
        "badge": Badge.now(),
        "sign_offs": latest_sign_offs(),
    }
    status = 200
    try:
        context["period"] = period = _period(data)
        if request.method == "POST":
            return _sign_off(request, period)
    except InvalidFilter as error:
        context["errors"], status = error.errors, 400
    except SignOffRefused as error:
        context["errors"], status = {"period": str(error)}, 400
    except review.ReviewNotRecorded:
        context["not_recorded"], status = True, 503
    return render(request, "compliance/sign_offs.html", context, status=status)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def sign_off(request: HttpRequest, seq: int) -> HttpResponse:
    """Show the report of a signed-off period, for printing."""
    event = _get_event(seq)
    if event.kind != EventKind.PERIOD_SIGNED_OFF:
        raise Http404("This event is not a sign-off.")
    return render(request, "compliance/sign_off.html", {"sign_off": SignOff.of(event)})


def _sign_off(request: HttpRequest, period: Period | None) -> HttpResponse:
    if period is None:
        raise SignOffRefused("Enter the first and the last day of the period.")
    if request.POST.get("head") != period.head:
        raise SignOffRefused(
            "The events in this period are not the ones you were shown. Check the figures below and"
            " sign off again. If this repeats, tell the system operator."
        )
    event = sign_off_period.sign_off(
        period=period,
        note=note_of(request),
        by=current_user(request).actor,
        origin=client_info(request),
    )
    return see_other(reverse("audit_sign_off", args=[event.seq]))


def _period(data: QueryDict) -> Period | None:
    """Return the period that a form names, None when it names none."""
    time_range = _time_range(data)
    if time_range.from_at is None and time_range.to_at is None:
        return None
    if time_range.from_at is None or time_range.to_at is None:
        raise SignOffRefused("Enter the first and the last day of the period.")
    return Period.of(from_at=time_range.from_at, to_at=time_range.to_at)


def _time_range(data: QueryDict) -> EventFilter:
    return EventFilter.from_words({name: data.get(name, "") for name in ("from", "to")})


def _get_event(seq: int) -> AuditEvent:
    event = AuditEvent.objects.filter(seq=seq).first() if seq <= MAX_ID else None
    if event is None:
        raise Http404("There is no event with this number. Go back to the audit log.")
    return event
