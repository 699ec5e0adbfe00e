"""Notes who sent a request, for its line in the log of the gate."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject, empty

from killswitch.accounts.client_info import address
from killswitch.runtime.http import CLIENT_KEY, SAFE_METHODS, USER_KEY


class SenderMiddleware:
    """Notes the address and the user of a request, without a query for either."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method not in SAFE_METHODS:
            request.META[CLIENT_KEY] = address(request)
            request.META[USER_KEY] = _known_username(request)
        return response


def _known_username(request: HttpRequest) -> str:
    """Return the name of the user if a view has read it, or signed the user in."""
    user = request.user
    is_unread = isinstance(user, SimpleLazyObject) and vars(user)["_wrapped"] is empty
    return "" if is_unread else user.get_username()
