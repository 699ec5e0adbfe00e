"""Where sign-in leads: back to what the user was doing, never to a shortened version of it."""

from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, has_permission
from killswitch.runtime.text import clean_line

MAX_REASON_CHARS = 500
MAX_URL_CHARS = 6000
NEXT_URL_KEY = "way_back"  # in the session, while a second factor is set up


def home_url(user: User) -> str:
    """Return the page that a user starts on."""
    return "/administration/" if user.is_administrator else "/"


def confirmation_url(request: HttpRequest) -> str:
    """Return the confirmation of a cancel that was not accepted, filled in as it was sent.

    Empty if it is too long. It carries all exchanges or none: with only some of them the page
    would offer another target, and leaving out an unreadable one could turn "some" into "all".
    """
    pks = dict.fromkeys(request.GET.getlist("exchange") + request.POST.getlist("exchange"))
    exchanges = [("exchange", pk) for pk in pks]
    # Without its group the address would mean all exchanges.
    exchanges += [
        (name, value) for name in ("group", "retry_of") for value in request.GET.getlist(name)
    ]
    if (request.POST.getlist("hold") or request.GET.getlist("hold")) == ["hold"]:
        exchanges.append(("hold", "hold"))
    # The form sends two reasons: one from the list, and one typed by the user.
    reasons = [
        ("reason", clean_line(reason, max_chars=MAX_REASON_CHARS))
        for reason in (request.POST.getlist("reason") or request.GET.getlist("reason"))[:2]
        if reason.strip()
    ]
    for fields in (exchanges + reasons, exchanges):
        url = f"{request.path}?{urlencode(fields)}" if fields else request.path
        if len(url) <= MAX_URL_CHARS:
            return url
    return ""


def url_after_sign_in(request: HttpRequest, *, permission: Permission) -> str:
    """Return the path to which a refused request leads back, empty for the home page."""
    if request.method in {"GET", "HEAD"}:
        url = _page_url(request)
    elif permission in {Permission.CANCEL, Permission.HOLD}:
        url = confirmation_url(request)
    elif permission == Permission.ADMINISTER:
        url = request.get_full_path()
    else:
        url = ""  # most addresses that take a POST have no page
    return url if len(url) <= MAX_URL_CHARS else ""


def sign_in_url(request: HttpRequest, *, permission: Permission) -> str:
    """Return the sign-in page that leads back to this request."""
    url = resolve_url("account_login")
    path = url_after_sign_in(request, permission=permission)
    return f"{url}?{urlencode({'next': path})}" if path else url


def next_url(request: HttpRequest, user: User) -> str:
    """Return the `next` of this address if it is a page open to the user, else their home."""
    url = request.GET.get("next", "")
    return url if can_open(user, url) else home_url(user)


def can_open(user: User, url: str) -> bool:
    """Return whether a URL is a path of ours that leads to a view that is open to the user."""
    if not url_has_allowed_host_and_scheme(url, allowed_hosts=None):
        return False
    try:
        view = resolve(urlsplit(url).path).func
    except Resolver404:
        return False
    permission = getattr(view, "permission", None)
    return permission is not None and has_permission(user, permission)


def _page_url(request: HttpRequest) -> str:
    """Return the page on the screen: htmx loads a part of it from another address."""
    page = request.headers.get("HX-Current-URL", "")
    if not page:
        return request.get_full_path()
    if not url_has_allowed_host_and_scheme(page, allowed_hosts={request.get_host()}):
        return ""
    parts = urlsplit(page)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
