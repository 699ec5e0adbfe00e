"""What somebody gets who has tried too often: a page that says how long, and an event."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from killswitch.accounts import sign_in_events

WAIT = 60  # seconds, the window of the limits in the settings
MOMENT = 5  # seconds, after which others have signed in


def too_many(request: HttpRequest, *, username: str) -> HttpResponse:
    """The page, with the refused try in the log."""
    response = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
    note(request, response, username=username)
    return response


def note(request: HttpRequest, response: HttpResponseBase, *, username: str) -> None:
    """For a page that was made elsewhere."""
    sign_in_events.record_limited(request, username=username)
    response["Retry-After"] = str(WAIT)


def busy(request: HttpRequest) -> HttpResponse:
    """The page for who did nothing wrong: too many people sign in at this moment."""
    context = {"busy": True}
    response = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(MOMENT)
    return response
