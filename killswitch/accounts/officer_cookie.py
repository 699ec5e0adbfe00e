"""Recognises an officer's browser without the database, for when it is down.

The cookie is signed, and bound to the session of the same browser. It ends with that session. It
cannot be revoked while the database is down; that is why it only opens what needs no database.
"""

import hashlib
import time
from dataclasses import asdict, dataclass
from typing import Self

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase

from killswitch.accounts.models import User
from killswitch.accounts.permissions import ROLES, Permission, has_permission

SALT = "killswitch.accounts.known_browser"


@dataclass(frozen=True, kw_only=True)
class KnownOfficer:
    """Who signed in, as it was then. `session` is a hash, `ends_at` a time in epoch seconds."""

    user_id: int
    name: str  # as the log names them
    role: str  # as the log names it
    role_key: str
    session: str
    ends_at: int

    @classmethod
    def of(cls, request: HttpRequest, user: User) -> Self:
        """Return the officer of the session of this request, which is signed in."""
        return cls(
            user_id=user.pk,
            name=user.actor.name,
            role=user.actor.role,
            role_key=user.role,
            session=_hash(request.session.session_key or ""),
            ends_at=int(request.session.get_expiry_date().timestamp()),
        )


def remember_browser(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the cookie, for as long as the session lasts, if the user has the cancel permission."""
    user = request.user
    if isinstance(user, User) and has_permission(user, Permission.CANCEL):
        response.set_cookie(
            settings.OFFICER_COOKIE_NAME,
            signing.dumps(asdict(KnownOfficer.of(request, user)), salt=SALT),
            max_age=settings.SESSION_COOKIE_AGE,
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite="Strict",
        )


def forget(response: HttpResponseBase) -> None:
    """Delete the cookie at sign-out: the next user of this browser may not be an officer."""
    response.delete_cookie(settings.OFFICER_COOKIE_NAME, samesite="Strict")


def known_officer(request: HttpRequest) -> KnownOfficer | None:
    """Return the officer whose browser and session this is, without reading the database."""
    text = request.COOKIES.get(settings.OFFICER_COOKIE_NAME, "")
    session_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
    try:
        officer = KnownOfficer(
            **signing.loads(text, salt=SALT, max_age=settings.SESSION_COOKIE_AGE)
        )
    except (signing.BadSignature, ValueError, TypeError):  # also the cookie of an earlier version
        return None
    is_valid = (
        bool(session_key)
        and officer.session == _hash(session_key)
        and officer.ends_at > time.time()
        and officer.role_key in ROLES[Permission.CANCEL]
    )
    return officer if is_valid else None


def is_an_officers(request: HttpRequest) -> bool:
    """Return whether an officer sends this request, without reading the database.

    By the user if Django has loaded them already, otherwise by the cookie.
    """
    user = getattr(request, "_cached_user", None)  # where Django caches the session's user
    if isinstance(user, User):
        return has_permission(user, Permission.CANCEL)
    return known_officer(request) is not None


def _hash(session_key: str) -> str:
    return hashlib.sha256(f"{SALT} {session_key}".encode()).hexdigest()
