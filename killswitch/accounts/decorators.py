"""The guard at every entrance: who is let in, who is sent to sign-in, who is refused."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url

from killswitch.accounts.client_info import clean, client_info
from killswitch.accounts.mfa import services
from killswitch.accounts.models import User
from killswitch.accounts.permissions import (
    PUBLIC,
    ROLE_PERMISSIONS,
    SIGNED_IN,
    Permission,
    allows,
    has_permission,
)
from killswitch.accounts.redirects import confirmation, remember_next, sign_in_url
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.event_throttle import record_counted
from killswitch.audit.models import Kind

__all__ = [
    "PUBLIC",
    "ROLE_PERMISSIONS",
    "SIGNED_IN",
    "Permission",
    "actor",
    "confirmation",
    "has_permission",
    "password_suffices",
    "public",
    "requires",
    "signed_in",
]

MAX_PATH_CHARS = 500  # characters
P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase])


def actor(user: User | AnonymousUser) -> Actor:
    """A person as the log names them. Behind a guard nobody is anonymous."""
    if not isinstance(user, User):
        raise TypeError("nobody is signed in")
    return Actor(name=user.full_text, role=user.role)


def requires(permission: Permission) -> Callable[[View[P]], View[P]]:
    """Let a view's callers in by their role, and mark the view with what it requires."""
    return _guarded(permission)


def signed_in(view: View[P]) -> View[P]:
    """Let everybody in who is signed in, whatever their role."""
    return _guarded(SIGNED_IN)(view)


def password_suffices(view: View[P]) -> View[P]:
    """The same, also without a second factor where one is required: the way to set it up."""
    return _guarded(SIGNED_IN, password_suffices=True)(view)


def public(view: AnyView) -> AnyView:
    """Mark a view that everybody may see, so that none is without a mark by mistake."""
    vars(view)["permission"] = PUBLIC
    return view


def _guarded(permission: str, *, password_suffices: bool = False) -> Callable[[View[P]], View[P]]:
    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            refusal = _refusal(request, permission)
            if refusal is None and not password_suffices:
                refusal = _second_factor_first(request, permission)
            return view(request, *args, **kwargs) if refusal is None else refusal

        vars(guarded)["permission"] = permission
        return guarded

    return decorate


def _refusal(request: HttpRequest, permission: str) -> HttpResponse | None:
    user: Any = request.user
    if not isinstance(user, User):
        return _sign_in_first(request, permission)
    if allows(user, permission):
        return None
    _record_denial(request, user, permission)
    if _is_htmx(request):
        # A part of a page: a whole error page has no place in it.
        return HttpResponse(
            "Your role does not allow this.", status=403, content_type="text/plain; charset=utf-8"
        )
    raise PermissionDenied


def _sign_in_first(request: HttpRequest, permission: str) -> HttpResponse:
    """An anonymous visit leaves no event. htmx would follow a redirect and swap the page in."""
    if _is_htmx(request):
        return _unauthorised(request, permission, "Your session has ended. Sign in again.")
    return HttpResponseRedirect(sign_in_url(request, permission=permission))


def _second_factor_first(request: HttpRequest, permission: str) -> HttpResponse | None:
    """To the page that sets it up, and from there back; a part of a page is led there by hand."""
    user: Any = request.user
    if not services.is_missing(user):
        return None
    if _is_htmx(request):
        return _unauthorised(request, permission, "Set up your second factor first.")
    remember_next(request, permission=permission)
    return HttpResponseRedirect(resolve_url("mfa_activate_totp"))


def _unauthorised(request: HttpRequest, permission: str, words: str) -> HttpResponse:
    response = HttpResponse(words, status=401, content_type="text/plain; charset=utf-8")
    response["HX-Trigger"] = "session-expired"
    response["X-Sign-In"] = sign_in_url(request, permission=permission)
    return response


def _record_denial(request: HttpRequest, user: User, permission: str) -> None:
    match = request.resolver_match
    fact = NewEvent(
        kind=Kind.DENIED,
        actor=actor(user),
        data={
            "path": clean(request.path, MAX_PATH_CHARS),
            "method": clean(request.method or "", 20),
            "permission": str(permission),
            **client_info(request),
        },
    )
    record_counted(fact, subject=f"{user.pk} {match.route if match else request.path}")


def _is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"
