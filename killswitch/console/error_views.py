"""A page for every error, in the design of the others, which says what to do next."""

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers

from killswitch.accounts import officer_cookie
from killswitch.accounts.decorators import requires
from killswitch.break_glass import outage
from killswitch.break_glass.confirmation import Question
from killswitch.break_glass.telephone.views import telephoned_again
from killswitch.cancels import manual_cancel
from killswitch.cancels.views import confirm_again, not_recorded
from killswitch.console import refusals
from killswitch.console.refusals import Refusal
from killswitch.holds.views import hold_again, release_again
from killswitch.runtime.database_errors import means_outage
from killswitch.runtime.http import ID_KEY, is_htmx

CANCELS = ("cancel_one", "cancel_all")
# These show their filled form again when its token was out of date.
FORMS: dict[str, Callable[..., HttpResponseBase]] = {
    "cancel_one": confirm_again,
    "cancel_all": confirm_again,
    "hold": hold_again,
    "release": release_again,
    "telephoned": telephoned_again,
}


def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:
    """Answer a request that cannot be parsed, or whose Host is unknown."""
    if isinstance(exception, DisallowedHost):
        refusal = refusals.of_unknown_host(request)
        return refusal_page(request, HTTPStatus.BAD_REQUEST, refusal=refusal)
    return error_page(request, HTTPStatus.BAD_REQUEST)


def forbidden(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """Answer a request that the person's role does not allow."""
    return error_page(request, HTTPStatus.FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown address, with the sentence of the view that raised `Http404`."""
    reason = exception.args[0] if exception and exception.args else ""
    # Django's own exceptions carry a dictionary or a phrase, which is not meant for people.
    sentence = reason if isinstance(reason, str) and reason.endswith(".") else ""
    return error_page(request, HTTPStatus.NOT_FOUND, sentence=sentence)


def failed(request: HttpRequest) -> HttpResponse:
    """Answer an unexpected exception; one of the database means that it cannot be used.

    Break glass is offered then, and for any other failure in place of the page of a cancel. The
    cancel of an officer that could not be recorded can be sent again as well.
    """
    is_database = means_outage(sys.exc_info()[1])
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_database else HTTPStatus.INTERNAL_SERVER_ERROR
    if is_database:
        outage.note_failure()
    match = request.resolver_match
    is_cancel = bool(match and match.url_name in CANCELS)
    is_press = is_cancel and request.method == "POST" and is_database
    if is_press and officer_cookie.is_an_officers(request):
        exchange_ids = Question.of_failed_page(request).exchange_ids
        return not_recorded(request, exchange_ids=exchange_ids)
    return error_page(
        request,
        status,
        by_hand=True,
        lines=_manual_lines(request),
        # A page that polls has a link to it.
        offer_break_glass=is_cancel or (is_database and not (match and match.url_name == "poll")),
    )


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a form that may not come from this console.

    A cancel and a Hold get their filled form again, unless that would be refused as well.
    """
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return not_found(request)
    refusal = refusals.of_form(request, reason=reason)
    show_again = FORMS.get(match.url_name or "")
    if show_again is None:
        return refusal_page(request, HTTPStatus.FORBIDDEN, refusal=refusal)
    request.resolver_match = match
    if refusal.can_retry:
        return show_again(request, **match.kwargs)
    refuse = requires(vars(match.func)["permission"])(explain_refusal)
    return refuse(request, refusal=refusal)


def explain_refusal(request: HttpRequest, *, refusal: Refusal) -> HttpResponse:
    """Explain to an officer why a form was refused; a wrong role is recorded as ever."""
    return refusal_page(request, HTTPStatus.FORBIDDEN, refusal=refusal)


def refusal_page(request: HttpRequest, status: HTTPStatus, *, refusal: Refusal) -> HttpResponse:
    """Return the page of a refusal, with the manual commands if the console cannot be used."""
    by_hand = bool(refusal.needs)
    lines = _manual_lines(request) if by_hand else []
    return error_page(request, status, refusal=refusal, by_hand=by_hand, lines=lines)


def error_page(request: HttpRequest, status: HTTPStatus, **context: Any) -> HttpResponse:
    """Return the whole page of an error, or its part for a dialog."""
    template = "_error.html" if is_htmx(request) else f"{status.value}.html"
    context |= {"status": status.value, "error_id": request.META.get(ID_KEY, "")}
    response = render(request, template, context, status=status.value)
    add_never_cache_headers(response)
    return response


def _manual_lines(request: HttpRequest) -> list[manual_cancel.Line]:
    """Return the commands to officers only: strangers learn neither the EMS nor the exchanges."""
    if not officer_cookie.is_an_officers(request):
        return []
    return manual_cancel.lines(Question.of_failed_page(request).exchange_ids)
