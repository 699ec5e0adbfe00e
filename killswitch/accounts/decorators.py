"""The guards in front of the views, and who is behind them."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache

from killswitch.accounts.client_info import clean, client_info
from killswitch.accounts.mfa import services as mfa
from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.accounts.redirects import NEXT_URL_KEY, sign_in_url, url_after_sign_in
from killswitch.audit.chain import NewEvent
from killswitch.audit.event_throttle import record_counted
from killswitch.audit.models import EventKind
from killswitch.runtime.http import is_htmx

MAX_PATH_CHARS = 500
MAX_METHOD_CHARS = 20
P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
AnyView = TypeVar("AnyView", bound=Callable[..., HttpResponseBase])


def current_user(request: HttpRequest) -> User:
    """Return the user who is signed in. Raises `TypeError` outside a guarded view."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("the request is anonymous: guard the view")
    return user


def requires(
    permission: Permission, *, password_suffices: bool = False, changes_password: bool = False
) -> Callable[[View[P]], View[P]]:
    """Open a view to the roles with this permission, and mark it as requiring it.

    With `password_suffices` even without a required second factor, for the pages on which it is
    set up. With `changes_password` even before a password that an administrator chose has been
    changed, for the page on which that is done.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            refusal = _refusal(
                request,
                permission=permission,
                password_suffices=password_suffices,
                changes_password=changes_password,
            )
            return view(request, *args, **kwargs) if refusal is None else refusal

        vars(guarded)["permission"] = permission
        return guarded

    return decorate


def public(view: AnyView) -> AnyView:
    """Mark a view as open to everyone; a view without any mark is a mistake."""
    vars(view)["permission"] = Permission.PUBLIC
    return view


def recent_password(view: View[P]) -> View[P]:
    """Ask for the password first, unless it was given a moment ago; no cache keeps the page.

    allauth would keep a POST and carry it out after the password, perhaps hours later and sent by
    someone else. Here giving the password only leads back to the page.
    """

    @wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not is_reauthentication_required(request, app="allauth.mfa"):
            return view(request, *args, **kwargs)
        query = urlencode({"next": request.path})
        return HttpResponseRedirect(f"{resolve_url('account_reauthenticate')}?{query}")

    return never_cache(guarded)


def _refusal(
    request: HttpRequest, *, permission: Permission, password_suffices: bool, changes_password: bool
) -> HttpResponse | None:
    """Return the answer to a request that is refused, None for one that may pass.

    Raises `PermissionDenied` where the answer is the error page.
    """
    user = request.user
    if not isinstance(user, User):
        # An anonymous request records no event: anyone could fill the log with them.
        if is_htmx(request):
            return _unauthorised(request, "Your session has ended. Sign in again.", permission)
        return HttpResponseRedirect(sign_in_url(request, permission=permission))
    if not has_permission(user, permission):
        _record_denial(request, user, permission)
        if is_htmx(request):
            # htmx would swap a whole error page into a part of a page.
            return HttpResponse(
                "Your role does not allow this.",
                status=403,
                content_type="text/plain; charset=utf-8",
                headers={"X-Recorded": "no"},
            )
        raise PermissionDenied
    # The password first: the administrator who chose it could set up the second factor as well.
    if user.must_change_password:
        if changes_password:
            return None
        sentence, page = "Change your password first.", "account_change_password"
    elif password_suffices or not mfa.must_set_up(user):
        return None
    else:
        sentence, page = "Set up your second factor first.", "mfa_activate_totp"
    if is_htmx(request):
        return _unauthorised(request, sentence, permission)
    request.session[NEXT_URL_KEY] = url_after_sign_in(request, permission=permission)
    return HttpResponseRedirect(resolve_url(page))


def _unauthorised(request: HttpRequest, text: str, permission: Permission) -> HttpResponse:
    """Return a 401 that the page's scripts announce; htmx would follow a redirect silently."""
    return HttpResponse(
        text,
        status=401,
        content_type="text/plain; charset=utf-8",
        headers={
            "HX-Trigger": "session-expired",
            "X-Sign-In": sign_in_url(request, permission=permission),
        },
    )


def _record_denial(request: HttpRequest, user: User, permission: Permission) -> None:
    match = request.resolver_match
    event = NewEvent(
        kind=EventKind.DENIED,
        actor=user.actor,
        data={
            "path": clean(request.path, MAX_PATH_CHARS),
            "method": clean(request.method or "", MAX_METHOD_CHARS),
            "permission": str(permission),
            **client_info(request),
        },
    )
    record_counted(event, subject=f"{user.pk} {match.route if match else request.path}")
