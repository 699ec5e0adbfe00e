"""What somebody gets who has tried too often: a page that says how long, and an event."""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render

from killswitch.accounts import login_events

WAIT = 60  # seconds, the window of the limits in the settings
HOUR = 3600  # the same, of the codes of one person
MOMENT = 5  # seconds, after which others have signed in


def too_many(request: HttpRequest, *, username: str, of_person: bool = False) -> HttpResponse:
    """The page, with the refused try in the log. `of_person`: their codes, not the address's."""
    context = {"of_person": of_person}
    response = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    record_and_set_retry_after(request, response, username=username)
    if of_person:
        response["Retry-After"] = str(HOUR)
    return response


def record_and_set_retry_after(
    request: HttpRequest, response: HttpResponseBase, *, username: str
) -> None:
    """For a page that was made elsewhere."""
    login_events.record_limited(request, username=username)
    response["Retry-After"] = str(WAIT)


def busy(request: HttpRequest) -> HttpResponse:
    """The page for who did nothing wrong: too many people sign in at this moment."""
    context = {"busy": True}
    response = render(request, "429.html", context, status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = str(MOMENT)
    return response
