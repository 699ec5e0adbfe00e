"""Which browsers belong to officers, told without a database: for the day on which it is gone."""

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission

COOKIE = "officer"
SALT = "killswitch.accounts.known_browser"


def remember_browser(request: HttpRequest, response: HttpResponseBase) -> None:
    """Remember the browser of whoever may cancel, for as long as a session lasts."""
    if has_permission(request.user, Permission.CANCEL):
        response.set_signed_cookie(
            COOKIE,
            "yes",
            salt=SALT,
            max_age=settings.SESSION_COOKIE_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def forget(response: HttpResponseBase) -> None:
    """Whoever signs out may be followed by somebody else."""
    response.delete_cookie(COOKIE, samesite="Strict")


def is_an_officers(request: HttpRequest) -> bool:
    """By the person if they were read already, else by the browser; nothing is read for it."""
    person = getattr(request, "_cached_user", None)  # where Django keeps whom it has read
    if isinstance(person, User):
        return has_permission(person, Permission.CANCEL)
    age = settings.SESSION_COOKIE_AGE
    return request.get_signed_cookie(COOKIE, default=None, salt=SALT, max_age=age) is not None
