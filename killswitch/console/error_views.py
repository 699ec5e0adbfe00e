"""A page for every error, in the design of the others, which says what to do next."""

import sys
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers

from killswitch.accounts import officer_cookie
from killswitch.cancels import manual_cancel
from killswitch.cancels.views import confirm_again
from killswitch.runtime.http import is_htmx

CANCEL_VIEWS = {"cancel_one", "cancel_all"}


def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """Answer a request that cannot be parsed."""
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
    """Answer an unexpected exception; one of the database means that it cannot be reached."""
    is_database = isinstance(sys.exc_info()[1], OperationalError | InterfaceError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_database else HTTPStatus.INTERNAL_SERVER_ERROR
    # Strangers learn neither the address of the EMS nor the exchanges.
    lines = manual_cancel.lines() if officer_cookie.is_an_officers(request) else []
    return error_page(request, status, by_hand=True, lines=lines)


def csrf_failed(request: HttpRequest, **_: object) -> HttpResponseBase:
    """Answer a page that is out of date; a cancel gets its filled confirmation again."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return not_found(request)
    if match.url_name in CANCEL_VIEWS:
        request.resolver_match = match
        return confirm_again(request, **match.kwargs)
    sentence = "Your changes were not saved. Go back, reload the page and try again."
    return error_page(request, HTTPStatus.FORBIDDEN, sentence=sentence)


def error_page(request: HttpRequest, status: HTTPStatus, **context: Any) -> HttpResponse:
    """Return the whole page of an error, or its part for a dialog."""
    template = "_error.html" if is_htmx(request) else f"{status.value}.html"
    context |= {"status": status.value}
    response = render(request, template, context, status=status.value)
    add_never_cache_headers(response)
    return response
