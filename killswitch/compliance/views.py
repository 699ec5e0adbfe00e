"""The log for compliance: read it, review it, sign it off. Nothing here changes an event."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from killswitch.accounts.client_info import client_info
from killswitch.accounts.decorators import Permission, actor, requires
from killswitch.accounts.words import said
from killswitch.audit import review, sign_off_period
from killswitch.audit.filters import EventFilter, InvalidFilter
from killswitch.audit.models import AuditEvent, Kind
from killswitch.audit.review import ReviewAction, ReviewInput
from killswitch.audit.sign_off_period import Period
from killswitch.compliance import chart, event_page, log_page, outcomes, review_queue
from killswitch.compliance.filter_suggestions import suggestions
from killswitch.compliance.log_page import LogPage
from killswitch.compliance.new_events import NewEvents
from killswitch.compliance.sign_offs import SignOff, signed
from killswitch.compliance.verification_badge import Badge

SHOWING_MARKS = {"audit", "audit_event", "audit_review", "request"}


@requires(Permission.AUDIT)
@never_cache
@require_safe
def log(request: HttpRequest) -> HttpResponse:
    """One page of the log, of what the filter selects."""
    context: dict[str, Any] = {
        "badge": Badge.now(),
        "given": log_page.given(request.GET.dict()),
        "kinds": Kind.choices,
        "known_values": suggestions(),
    }
    try:
        selection = EventFilter.from_query(request.GET)
        news = NewEvents.none_yet(selection)  # before the page, so that nothing falls in between
        page = LogPage.of(selection, query=request.GET)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/log.html", context, status=400)
    context |= {"selection": selection, "page": page, "news": news, "here": _here(request)}
    return render(request, "compliance/log.html", context)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def event(request: HttpRequest, seq: int) -> HttpResponse:
    """One event with every column, its hashes computed again, and its reviews."""
    page = event_page.EventPage.of(_event(seq))
    context = {"page": page, "entry": page.entry, "here": request.path}
    return render(request, "compliance/event.html", context)


@requires(Permission.AUDIT)
@never_cache
@require_safe
def outcomes_by_day(request: HttpRequest) -> HttpResponse:
    """What became of the requests, as a drawing and as a table."""
    context: dict[str, Any] = {
        "given": log_page.given(request.GET.dict()),
        "statuses": outcomes.STATUSES,
    }
    try:
        chosen = outcomes.DateRange.of(_time_range(request.GET), today=datetime.now(UTC).date())
        days = outcomes.by_day(chosen)
    except InvalidFilter as error:
        context["errors"] = error.errors
        return render(request, "compliance/outcomes.html", context, status=400)
    except outcomes.RangeRefused as error:
        context["errors"] = {"range": str(error)}
        return render(request, "compliance/outcomes.html", context, status=400)
    whole = outcomes.whole(days)
    context |= {
        "chosen": chosen,
        "days": days[::-1],
        "whole": [whole[status] for status in outcomes.STATUSES],
        "total": whole.total(),
        "plot": chart.draw(days),
    }
    return render(request, "compliance/outcomes.html", context)


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def reviews(request: HttpRequest) -> HttpResponse:
    """GET: what is left to look at. POST: mark events as reviewed, queried or closed."""
    if request.method == "POST":
        return _mark(request)
    context = {"work": review_queue.ReviewQueue.now(), "badge": Badge.now(), "here": request.path}
    return render(request, "compliance/review.html", context)


@requires(Permission.REVIEW)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_offs(request: HttpRequest) -> HttpResponse:
    """GET: the periods signed off, and what another one would say. POST: sign it off."""
    data = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {
        "given": log_page.given(data.dict()),
        "note": data.get("note", ""),
        "badge": Badge.now(),
        "signed": signed(),
    }
    try:
        period = _period(data)
        if request.method == "POST":
            return _sign_off(request, period)
    except InvalidFilter as error:
        return _sign_offs(request, context | {"errors": error.errors}, status=400)
    except sign_off_period.SignOffRefused as error:
        # A period that was read is shown again with its form; nothing typed is lost.
        context |= {"errors": {"period": str(error)}, "period": _readable(data)}
        return _sign_offs(request, context, status=400)
    except review.ReviewNotRecorded:
        return _sign_offs(
            request, context | {"not_recorded": True, "period": _readable(data)}, status=503
        )
    return _sign_offs(request, context | {"period": period})


@requires(Permission.AUDIT)
@never_cache
@require_safe
def sign_off(request: HttpRequest, seq: int) -> HttpResponse:
    """The report of a period that was signed off, for printing."""
    found = _event(seq)
    if found.kind != Kind.PERIOD_SIGNED_OFF:
        raise Http404("No period was signed off in this event.")
    return render(request, "compliance/sign_off.html", {"signed": SignOff.of(found)})


def _mark(request: HttpRequest) -> HttpResponse:
    """One call to the service; a refusal keeps everything that was typed."""
    back = _back(request.POST.get("back", ""))
    remark = ReviewInput(
        mark=request.POST.get("mark", ""),
        seqs=log_page.seqs(request.POST.getlist("event")),
        note=_note(request),
        by=actor(request.user),
        origin=client_info(request),
    )
    try:
        said = review.record_review(remark)
    except review.ReviewRefused as error:
        status = 409 if isinstance(error, review.ReviewConflict) else 400
        return _not_marked(request, remark, back, why=str(error), status=status)
    except review.ReviewNotRecorded:
        why = "The log did not take the event, so nothing was marked. Try again in a few seconds."
        return _not_marked(request, remark, back, why=why, status=503)
    query = QueryDict(urlsplit(back).query, mutable=True)
    query["marked"] = str(said.seq)
    return _see_other(f"{urlsplit(back).path}?{query.urlencode()}")


def _not_marked(
    request: HttpRequest, remark: ReviewInput, back: str, *, why: str, status: int
) -> HttpResponse:
    note = request.POST.get("note", "")
    context = {
        "remark": remark,
        "note": note,
        "marks": list(ReviewAction),
        "back": back,
        "why": why,
    }
    return render(request, "compliance/review_refused.html", context, status=status)


def _sign_off(request: HttpRequest, period: Period | None) -> HttpResponse:
    if period is None:
        raise sign_off_period.SignOffRefused("A period needs its first day and its last one.")
    if request.POST.get("head") != period.head:
        raise sign_off_period.SignOffRefused(
            "The log of this period reads differently now: look at it again."
        )
    by, where = actor(request.user), client_info(request)
    said = sign_off_period.sign_off(period=period, note=_note(request), by=by, origin=where)
    return _see_other(reverse("audit_sign_off", args=[said.seq]))


def _sign_offs(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    return render(request, "compliance/sign_offs.html", context, status=status)


def _period(data: QueryDict) -> Period | None:
    """The period that a form names; None when it names none yet."""
    chosen = _time_range(data)
    if chosen.from_at is None and chosen.to_at is None:
        return None
    if chosen.from_at is None or chosen.to_at is None:
        raise sign_off_period.SignOffRefused("A period needs its first day and its last one.")
    return Period.of(from_at=chosen.from_at, to_at=chosen.to_at)


def _readable(data: QueryDict) -> Period | None:
    try:
        return _period(data)
    except sign_off_period.SignOffRefused:
        return None


def _time_range(data: QueryDict) -> EventFilter:
    return EventFilter.from_words({name: data.get(name, "") for name in ("from", "to")})


def _event(seq: int) -> AuditEvent:
    found = AuditEvent.objects.filter(seq=seq).first() if seq <= log_page.MAX_SEQ else None
    if found is None:
        raise Http404("There is no event of this number.")
    return found


def _note(request: HttpRequest) -> str:
    """One character longer than allowed, so that what is too long is refused and not cut."""
    return said(request.POST.get("note", ""), review.MAX_NOTE_CHARS + 1)[0]


def _here(request: HttpRequest) -> str:
    query = request.GET.copy()
    query.pop("marked", None)
    return f"{request.path}?{query.urlencode()}" if query else request.path


def _back(address: str) -> str:
    """Where to go afterwards: only to pages of ours that can show what was marked."""
    try:
        parts = urlsplit(address)
        shows_marks = resolve(parts.path).url_name in SHOWING_MARKS
    except (ValueError, Resolver404):  # some texts are no address
        return reverse("audit_review")
    is_ours = not (parts.scheme or parts.netloc)
    return address if is_ours and shows_marks else reverse("audit_review")


def _see_other(address: str) -> HttpResponse:
    """303, so that loading the page again does not send the form again."""
    return HttpResponse(status=303, headers={"Location": address})
