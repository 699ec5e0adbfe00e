"""The audit log for compliance: read it, review it, sign it off. Events are never changed."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.audit import review, sign_off_period
from killswitch.audit.filters import EventFilter, InvalidFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.review import ReviewInput
from killswitch.audit.sign_off_period import Period, SignOffRefused
from killswitch.compliance import chart, log_page, outcomes
from killswitch.compliance.event_page import EventPage
from killswitch.compliance.log_page import LogPage
from killswitch.compliance.new_events import NewEvents
from killswitch.compliance.review_queue import ReviewQueue
from killswitch.compliance.sign_offs import SignOff, latest_sign_offs
from killswitch.compliance.verification_badge import Badge
from killswitch.runtime.http import MAX_ID, parse_id, see_other
from killswitch.runtime.text import clean_line

# The pages on which a review can be made, and to which it leads back.
REVIEWING_PAGES = {"audit", "audit_event", "audit_review", "request"}


@requires(Permission.AUDIT)
@never_cache
@require_safe
def log(request: HttpRequest) -> HttpResponse:
    """Show one page of the events that the filter selects."""
    context: dict[str, Any] = {
        "badge": Badge.now(),
        "values": log_page.form_values(request.GET.dict()),
        "kinds": EventKind.choices,
        "suggestions": log_page.suggestions(),
    }
    try:
        selection = EventFilter.from_query(request.GET)
        news = NewEvents.none_yet(selection)  # before the page, so that no event falls in between
        page = LogPage.of(selection, query=request.GET)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/log.html", context, status=400)
    query = request.GET.copy()
    query.pop("marked", None)
    here = f"{request.path}?{query.urlencode()}" if query else request.path
    context |= {"selection": selection, "page": page, "news": news, "here": here}
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
        "values": log_page.form_values(request.GET.dict()),
        "statuses": outcomes.STATUSES,
    }
    try:
        today = datetime.now(UTC).date()
        date_range = outcomes.DateRange.of(_time_range(request.GET), today=today)
        days = outcomes.by_day(date_range)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/outcomes.html", context, status=400)
    counts = sum((day.counts for day in days), Counter())
    hold_counts = sum((day.hold_counts for day in days), Counter())
    context |= {
        "range": date_range,
        "days": days[::-1],
        "totals": [counts[status] for status in outcomes.STATUSES],
        "total": counts.total(),
        "hold_totals": [hold_counts[status] for status in outcomes.STATUSES],
        "hold_total": hold_counts.total(),
        "chart": chart.draw(days),
    }
    return render(request, "compliance/outcomes.html", context)


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reviews(request: HttpRequest) -> HttpResponse:
    """Show what is left to review (GET); review or query events, or close queries (POST)."""
    if request.method == "POST":
        return _record_review(request)
    context = {"queue": ReviewQueue.now(), "badge": Badge.now(), "here": request.path}
    return render(request, "compliance/review.html", context)


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_offs(request: HttpRequest) -> HttpResponse:
    """Show the signed-off periods and a preview of another one (GET); sign it off (POST)."""
    data = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {
        "values": log_page.form_values(data.dict()),
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


def _record_review(request: HttpRequest) -> HttpResponse:
    return_url = _return_url(request.POST.get("back", ""))
    review_input = ReviewInput(
        mark=request.POST.get("mark", ""),
        seqs=sorted(set(filter(None, map(parse_id, request.POST.getlist("event"))))),
        note=_note(request),
        by=current_user(request).actor,
        origin=client_info(request),
    )
    try:
        event = review.record_review(review_input)
    except review.ReviewRefused as error:
        reason, status = str(error), 409 if isinstance(error, review.ReviewConflict) else 400
    except review.ReviewNotRecorded:
        reason, status = "The audit log could not be written. Try again in a few seconds.", 503
    else:
        url = urlsplit(return_url)
        query = QueryDict(url.query, mutable=True)
        query["marked"] = str(event.seq)
        return see_other(f"{url.path}?{query.urlencode()}")
    context = {
        "seqs": review_input.seqs,
        "note": request.POST.get("note", ""),
        "marks": review.REVIEW_ACTIONS,
        "here": return_url,
        "reason": reason,
    }
    return render(request, "compliance/review_refused.html", context, status=status)


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
        note=_note(request),
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


def _note(request: HttpRequest) -> str:
    # One character more than allowed, so that a note that is too long is refused and not cut.
    return clean_line(request.POST.get("note", ""), max_chars=review.MAX_NOTE_CHARS + 1)


def _return_url(url: str) -> str:
    """Return the address if it is one of our pages with a review form, else the review page."""
    try:
        parts = urlsplit(url)
        has_form = resolve(parts.path).url_name in REVIEWING_PAGES
    except (ValueError, Resolver404):  # not every text is a URL
        return reverse("audit_review")
    is_ours = not (parts.scheme or parts.netloc)
    return url if is_ours and has_form else reverse("audit_review")
