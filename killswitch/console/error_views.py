"""Every error in words, in the design of the other pages, saying what to do next."""

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers

from killswitch.accounts import officer_cookie
from killswitch.cancels.views import confirm_again
from killswitch.console import manual_cancel

LARGEST_BODY = 2**20  # bytes; the longest form is a few hundred, an audit filter some thousand
KILLS = {"cancel_one", "cancel_all"}
SPOKEN = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
}


def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """The browser sent something that cannot be understood."""
    return _say(request, HTTPStatus.BAD_REQUEST)


def forbidden(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    """This role may not."""
    return _say(request, HTTPStatus.FORBIDDEN)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """There is nothing here; a view may say what is missing."""
    said = exception.args[0] if exception and exception.args else ""
    sentence = said if isinstance(said, str) and said.endswith(".") else ""
    return _say(request, HTTPStatus.NOT_FOUND, sentence=sentence)


def failed(request: HttpRequest) -> HttpResponse:
    """Something broke. A database that is gone has a page of its own, with the way by hand."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return unavailable(request)
    return _say(request, HTTPStatus.INTERNAL_SERVER_ERROR, **_way_by_hand(request))


def unavailable(request: HttpRequest) -> HttpResponse:
    """The database cannot be reached: how to cancel without it."""
    return _say(request, HTTPStatus.SERVICE_UNAVAILABLE, **_way_by_hand(request))


def csrf_failed(request: HttpRequest, **_: object) -> HttpResponseBase:
    """A page that had grown old. A kill comes back as its filled confirmation, one press away."""
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return not_found(request)
    if match.url_name in KILLS:
        request.resolver_match = match
        return confirm_again(request, **match.kwargs)
    sentence = "This page had grown old, so what you sent was not taken. Load it again and repeat."
    return _say(request, HTTPStatus.FORBIDDEN, sentence=sentence)


class ErrorPageMiddleware:
    """Gives an error answer without a body, such as 405, its page in words.

    It stands in front of everything that reads a body, and lets none in that no form here sends:
    Django would keep a file of any size on disk, also for somebody who is not signed in.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if _length(request) > LARGEST_BODY:
            return _say(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        response = self.get_response(request)
        status = response.status_code
        if status not in SPOKEN or not isinstance(response, HttpResponse) or response.content:
            return response
        spoken = _say(request, HTTPStatus(status))
        for name in ("Allow", "Retry-After", "HX-Trigger"):
            if name in response.headers:
                spoken.headers[name] = response.headers[name]
        return spoken


def _way_by_hand(request: HttpRequest) -> dict[str, Any]:
    """The lines for officers; strangers learn neither where the EMS is nor what we trade on."""
    lines = manual_cancel.lines() if officer_cookie.is_an_officers(request) else []
    return {"by_hand": True, "lines": lines}


def _length(request: HttpRequest) -> int:
    """Bytes that the body has, as told. Of a body without a length the server reads nothing."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _say(request: HttpRequest, status: HTTPStatus, **context: Any) -> HttpResponse:
    """The whole page, or only its words for a part of one."""
    name = "_error" if getattr(request, "htmx", False) else str(status.value)
    context |= {"status": status.value}
    response = render(request, f"{name}.html", context, status=status.value)
    add_never_cache_headers(response)
    return response
