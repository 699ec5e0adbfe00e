"""Holding an exchange, a dialog like the cancel's; and releasing it, a page without a shortcut."""

import secrets
from datetime import datetime

from django.db import Error, connection
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from killswitch.accounts import client_info
from killswitch.accounts.decorators import current_user, requires
from killswitch.accounts.permissions import Permission
from killswitch.cancels.confirmation import REASONS, Reason
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.models import Hold, HoldState
from killswitch.holds.services import Act, ReleaseRefused
from killswitch.holds.view_models import ReleasePage, newest_hold
from killswitch.runtime.http import MAX_ID, is_htmx, see_other

ACTS = ("request", "confirm", "withdraw")
SHOWN = ("act", "hold", "requested_at")  # what the form says that its page showed


class InvalidForm(ReleaseRefused):
    """The form lacks a field, has one twice, or names nothing that can be done about a Hold."""


class StalePage(ReleaseRefused):
    """The page showed another Hold than the active one."""


REFUSALS: dict[type[ReleaseRefused], tuple[int, str]] = {
    services.NotHeld: (409, "{} is not held, or is no longer held. Nothing was changed."),
    services.ReasonMissing: (400, "Enter a reason. Nothing was changed: {} is still held."),
    services.ReleaseAlreadyRequested: (
        409,
        "The release was already requested. Nothing was changed: {} is still held.",
    ),
    services.ReleaseNotRequested: (
        409,
        "That release request was withdrawn, lapsed or replaced. Nothing was changed: {} is still"
        " held.",
    ),
    services.ReleaseLapsed: (
        409,
        "The request to release was not confirmed within 15 minutes, so it has lapsed. {} is still"
        " held.",
    ),
    services.SamePerson: (
        403,
        "You, or someone signed in under your name, requested this release. Another risk officer"
        " must confirm it. Nothing was changed: {} is still held.",
    ),
    InvalidForm: (
        400,
        "The form was incomplete or invalid. Nothing was changed: {} is still held.",
    ),
    StalePage: (
        409,
        "Your page showed an earlier Hold. Nothing was changed: {} is still held.",
    ),
}


@requires(Permission.HOLD)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def hold(request: HttpRequest, pk: int) -> HttpResponse:
    """Hold an exchange: GET shows the confirmation, POST starts the Hold or finds it active."""
    exchange = _exchange(pk)
    if request.method != "POST":
        return _show_hold(request, exchange)
    before = _state(exchange)
    reason = str(Reason.from_form(request.POST))
    try:
        result = services.start_hold(exchange, act=_act(request), reason=reason)
    except Error:
        return _not_recorded(request, exchange, before=before, noun="Hold", result="held")
    if result.is_new and not is_htmx(request):
        return see_other(reverse("hold", args=[pk]))
    return _show_held(
        request, exchange, result.hold, is_new=result.is_new, status=201 if result.is_new else 200
    )


@requires(Permission.HOLD)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Release an exchange: GET shows the Hold, POST requests, confirms or withdraws its release."""
    exchange = _exchange(pk)
    if request.method != "POST":
        return _show_release(request, exchange)
    before = _state(exchange)
    try:
        _carry_out(request, exchange)
    except ReleaseRefused as refusal:
        status, sentence = REFUSALS[type(refusal)]
        return _show_release(
            request,
            exchange,
            status=status,
            notice=sentence.format(exchange.exchange_id),
            is_reason_missing=isinstance(refusal, services.ReasonMissing),
        )
    except Error:
        return _not_recorded(request, exchange, before=before, noun="release", result="released")
    return see_other(reverse("release", args=[pk]))


@requires(Permission.HOLD)
@never_cache
def hold_again(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Show the filled confirmation again to a POST that failed the CSRF check."""
    notice = "This page was out of date, so nothing was held. Please confirm again."
    return _show_hold(request, _exchange(pk), status=403, notice=notice)


@requires(Permission.HOLD)
@never_cache
def release_again(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Show the page of the release again to a POST that failed the CSRF check."""
    notice = "This page was out of date, so nothing was changed. Check it again before you decide."
    return _show_release(request, _exchange(pk), status=403, notice=notice)


def _carry_out(request: HttpRequest, exchange: Exchange) -> None:
    """Do what the form asks, for the Hold and the request that its page showed."""
    active = Hold.objects.active().filter(configured_exchange=exchange).first()
    if active is None:
        raise services.NotHeld
    is_repeated = any(len(request.POST.getlist(name)) > 1 for name in SHOWN)
    if is_repeated or request.POST.get("act") not in ACTS or not request.POST.get("hold"):
        raise InvalidForm
    if request.POST["hold"] != str(active.uuid):
        raise StalePage
    act, requested_at = _act(request), _time(request.POST.get("requested_at", ""))
    match request.POST["act"]:
        case "request":
            reason = str(Reason.from_form(request.POST))
            services.request_release(active, act=act, reason=reason)
        case "confirm" | "withdraw" if requested_at is None:
            raise services.ReleaseNotRequested
        case "confirm":
            services.confirm_release(active, act=act, requested_at=requested_at)
        case "withdraw":
            services.withdraw_release(active, act=act, requested_at=requested_at)


def _show_hold(
    request: HttpRequest, exchange: Exchange, *, status: int = 200, notice: str = ""
) -> HttpResponse:
    """Show the confirmation, filled with what the request carries; or the Hold that is active."""
    view = newest_hold(exchange)
    if view and view.hold.is_active:
        return _show_held(
            request, exchange, view.hold, is_new=request.method != "POST", status=status
        )
    data = request.POST if request.method == "POST" else request.GET
    context = {
        "exchange": exchange,
        "notice": notice,
        "reason": Reason.from_form(data).carried(),
        "reasons": REASONS,
        # Under this key the browser remembers a Hold of which it got no answer. Starting it twice
        # is starting it once, so the server needs none.
        "key": secrets.token_urlsafe(16),
    }
    return _render(request, "holds/_confirm.html", context, status=status)


def _show_held(
    request: HttpRequest, exchange: Exchange, hold: Hold, *, is_new: bool, status: int = 200
) -> HttpResponse:
    context = {"exchange": exchange, "hold": hold, "is_new": is_new}
    return _render(request, "holds/_held.html", context, status=status)


def _show_release(
    request: HttpRequest,
    exchange: Exchange,
    *,
    status: int = 200,
    notice: str = "",
    is_reason_missing: bool = False,
) -> HttpResponse:
    data = request.POST if request.method == "POST" else request.GET
    context = {
        "exchange": exchange,
        "page": ReleasePage.of(exchange, user=current_user(request)),
        "notice": notice,
        "reason": str(Reason.from_form(data).carried()),
        "is_reason_missing": is_reason_missing,
    }
    return render(request, "holds/release.html", context, status=status)


def _render(
    request: HttpRequest, template: str, context: dict[str, object], *, status: int
) -> HttpResponse:
    """Return the part for the dialog, or the page around it."""
    if is_htmx(request):
        return render(request, template, context, status=status)
    return render(request, "holds/hold.html", context | {"template": template}, status=status)


State = tuple[int, str, datetime | None]


def _state(exchange: Exchange) -> State | None:
    """Return how far the newest Hold of an exchange is, to see later whether that has changed."""
    hold = Hold.objects.filter(configured_exchange=exchange).order_by("-id").first()
    return (hold.pk, HoldState(hold.state), hold.release_requested_at) if hold else None


def _not_recorded(
    request: HttpRequest, exchange: Exchange, *, before: State | None, noun: str, result: str
) -> HttpResponse:
    """Answer after a failure of the database: nothing was changed, or it is not known.

    A connection that was lost at the commit may have recorded the change after all. If it did, the
    page shows it.
    """
    path = reverse(request.resolver_match.view_name, args=[exchange.pk])  # type: ignore[union-attr]
    is_certain = connection.is_usable()
    if not connection.in_atomic_block:
        connection.close()  # it may be what failed
    try:
        after = _state(exchange)
    except Error:
        after, is_certain = before, False
    if after != before:
        return see_other(path)
    title = f"The {noun} was not recorded"
    sentence = f"The {noun} could not be recorded, so nothing was {result}. Try again."
    if not is_certain:
        title = f"It is not known whether the {noun} was recorded"
        sentence = "The connection to the database was lost. Reload to see whether it was."
    if reason := str(Reason.from_form(request.POST).carried()):
        path = f"{path}?{urlencode({'reason': reason})}"
    context = {"title": title, "sentence": sentence, "path": path}
    template = "holds/_refused.html" if is_htmx(request) else "holds/refused.html"
    response = render(request, template, context, status=503)
    if is_certain:
        response["X-Recorded"] = "no"
    return response


def _act(request: HttpRequest) -> Act:
    return Act.of_user(
        current_user(request),
        address=client_info.address(request),
        user_agent=request.headers.get("User-Agent", ""),
    )


def _exchange(pk: int) -> Exchange:
    """Return the exchange, or raise `Http404` with a sentence for the error page."""
    exchange = Exchange.objects.filter(pk=pk).first() if pk <= MAX_ID else None
    if exchange is None:
        raise Http404(
            "This exchange does not exist here. Nothing was changed. Go to the console and choose"
            " it there."
        )
    return exchange


def _time(text: str) -> datetime | None:
    """Return the time that a form sends back; None for any other text."""
    try:
        at = parse_datetime(text)
    except ValueError:
        return None
    return at if at and at.tzinfo else None
