"""Recognises an officer's browser without the database, for error pages while it is down."""

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission

SALT = "killswitch.accounts.known_browser"


def remember_browser(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the cookie, for as long as a session lasts, if the user has the cancel permission."""
    if has_permission(request.user, Permission.CANCEL):
        response.set_signed_cookie(
            settings.OFFICER_COOKIE_NAME,
            "yes",
            salt=SALT,
            max_age=settings.SESSION_COOKIE_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def forget(response: HttpResponseBase) -> None:
    """Delete the cookie at sign-out: the next user of this browser may not be an officer."""
    response.delete_cookie(settings.OFFICER_COOKIE_NAME, samesite="Strict")


def is_an_officers(request: HttpRequest) -> bool:
    """Return whether an officer sends this request, without reading the database.

    By the user if Django has loaded them already, otherwise by the cookie.
    """
    user = getattr(request, "_cached_user", None)  # where Django caches the session's user
    if isinstance(user, User):
        return has_permission(user, Permission.CANCEL)
    cookie = request.get_signed_cookie(
        settings.OFFICER_COOKIE_NAME,
        default=None,
        salt=SALT,
        max_age=settings.SESSION_COOKIE_AGE,
    )
    return cookie is not None
