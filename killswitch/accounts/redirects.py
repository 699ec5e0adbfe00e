"""Where sign-in leads: back to what the person was doing, never to a shortened version of it."""

from typing import Any
from urllib.parse import urlencode, urlsplit

from django.http import HttpRequest, QueryDict
from django.shortcuts import resolve_url
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme

from killswitch.accounts.models import User
from killswitch.accounts.permissions import Permission, allows
from killswitch.accounts.words import said

MAX_REASON_CHARS = 500  # characters
MAX_URL_CHARS = 6000  # characters of a path with its query
KEPT = "way_back"  # in the session, while a second factor is set up


def home_url(user: User) -> str:
    """The page that a person starts on."""
    return "/admin/" if user.is_administrator else "/"


def confirmation(request: HttpRequest) -> str:
    """The page of a press that did not go through, with what had been filled in.

    All exchanges or none: with only some of them the page would offer another target, and with
    an unreadable one left out "some" could turn into "all".
    """
    exchanges = [("exchange", value) for value in _merged(request.GET, request.POST, "exchange")]
    # The form sends two of them: one picked from the list, and one in own words.
    sent = request.POST.getlist("reason") or request.GET.getlist("reason")
    reasons = [("reason", said(one, MAX_REASON_CHARS)[0]) for one in sent[:2] if one.strip()]
    for fields in (exchanges + reasons, exchanges):
        url = f"{request.path}?{urlencode(fields)}" if fields else request.path
        if len(url) <= MAX_URL_CHARS:
            return url
    return ""


def after_sign_in(request: HttpRequest, *, permission: str) -> str:
    """The path that an anonymous request is led back to, or nothing: then to the landing page."""
    if request.method in {"GET", "HEAD"}:
        url = _page(request)
    elif permission == Permission.CANCEL:
        url = confirmation(request)
    elif permission == Permission.ADMINISTER:
        url = request.get_full_path()
    else:
        url = ""  # most addresses that are posted to show nothing
    return url if len(url) <= MAX_URL_CHARS else ""


def sign_in_url(request: HttpRequest, *, permission: str) -> str:
    """The sign-in page that leads back from here."""
    url = resolve_url("account_login")
    path = after_sign_in(request, permission=permission)
    return f"{url}?{urlencode({'next': path})}" if path else url


def remember_next(request: HttpRequest, *, permission: str) -> None:
    """Note where a person was going who first has to set up a second factor."""
    request.session[KEPT] = after_sign_in(request, permission=permission)


def pop_next(request: HttpRequest) -> str:
    """Where they were going, told once; nothing if they were going nowhere."""
    return str(request.session.pop(KEPT, ""))


def next_url(request: HttpRequest) -> str:
    """Where the `next` of this address leads, if it is a page of ours that the person may open."""
    user: Any = request.user
    url = request.GET.get("next", "")
    if url_has_allowed_host_and_scheme(url, allowed_hosts=None) and can_open(user, url):
        return url
    return home_url(user)


def can_open(user: User, url: str) -> bool:
    """Whether a person would be let in at a path of ours."""
    try:
        view = resolve(urlsplit(url).path).func
    except Resolver404:
        return False
    permission = getattr(view, "permission", None)
    return permission is not None and allows(user, permission)


def _page(request: HttpRequest) -> str:
    """An htmx request is a part of a page: the page is what the person wants to see again."""
    shown = request.headers.get("HX-Current-URL", "")
    if not shown:
        return request.get_full_path()
    if not url_has_allowed_host_and_scheme(shown, allowed_hosts={request.get_host()}):
        return ""
    parts = urlsplit(shown)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _merged(first: QueryDict, second: QueryDict, name: str) -> list[str]:
    return list(dict.fromkeys(first.getlist(name) + second.getlist(name)))
