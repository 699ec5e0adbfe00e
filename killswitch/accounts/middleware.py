"""Notes who sent a request, for its line in the log of the gate."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import SimpleLazyObject, empty

from killswitch.accounts.client_info import address
from killswitch.runtime.http import CLIENT_KEY, USER_KEY


class SenderMiddleware:
    """Notes the address and the user of a request, without a query for either."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        user_before = request.user
        response = self.get_response(request)
        request.META[CLIENT_KEY] = address(request)
        # The view may have signed a user in, or out.
        request.META[USER_KEY] = _known_name(request.user) or _known_name(user_before)
        return response


def _known_name(user: Any) -> str:
    """Return the name of a user, empty for a visitor and for a user whom no view has read."""
    is_unread = isinstance(user, SimpleLazyObject) and vars(user)["_wrapped"] is empty
    return "" if is_unread else str(user.get_username())
