"""Explains why a request was refused before it reached a view: what arrived, and what is needed."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import REASON_NO_CSRF_COOKIE

from killswitch.accounts.client_info import clean
from killswitch.runtime.proxy_warnings import warn_once

MAX_HEADER_CHARS = 200
# How Django's reasons begin when the headers do not show that a form came from this console.
SOURCE_CHECKS = ("Origin checking failed", "Referer checking failed")
OTHER_SITES = {"cross-site", "same-site"}

NOTHING_SENT = "No change was made and no cancel was sent."
CALL_OPERATOR = "Trying again will probably not help: show this page to the system operator."
SEND_PROTO = (
    "The proxy must send the header “X-Forwarded-Proto: https”, and TRUSTED_PROXY_COUNT must be the"
    " number of proxies: if it is 0, the console ignores that header."
)
KEEP_HOST = (
    "The proxy must pass on the Host header as the browser sent it, with its port (nginx:"
    " “proxy_set_header Host $http_host”). X-Forwarded-Host is not read."
)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The text of an error page; `needs` and `arrived` are for the operator of a proxy.

    With `can_retry`, the same form succeeds once its page is loaded again.
    """

    title: str
    sentence: str
    needs: tuple[str, ...] = ()
    arrived: str = ""
    can_retry: bool = False


OUT_OF_DATE = Refusal(
    title="This page was out of date",
    sentence="Your changes were not saved. Go back, reload the page and try again.",
    can_retry=True,
)
NO_COOKIE = Refusal(
    title="This page was out of date, or cookies are blocked",
    sentence=(
        "Your changes were not saved: the cookie of this console did not arrive. Go back, reload"
        " the page and try again. If this appears again, allow cookies for this site in your"
        " browser; a proxy must not remove or change them."
    ),
    can_retry=True,
)
OTHER_SITE = Refusal(
    title="Another website sent this form",
    sentence=f"{NOTHING_SENT} Close this page and open the console by its own address.",
)


def of_form(request: HttpRequest, *, reason: str) -> Refusal:
    """Explain Django's reason for refusing a form, and log what a proxy did to it."""
    if reason.startswith(SOURCE_CHECKS):
        if request.headers.get("Sec-Fetch-Site") in OTHER_SITES:
            return OTHER_SITE
        return _unproven_source(request)
    if reason != REASON_NO_CSRF_COOKIE:
        return OUT_OF_DATE
    if not settings.CSRF_COOKIE_SECURE or request.is_secure():
        return NO_COOKIE
    return _refusal(
        request,
        title="This console was reached without TLS",
        sentence=(
            f"{NOTHING_SENT} The console's cookies are sent over TLS only, so none arrived. Open"
            " it by an address that begins with https. If you did, a proxy in front of the console"
            " is misconfigured: show this page to the system operator."
        ),
        needs=(SEND_PROTO,),
    )


def of_unknown_host(request: HttpRequest) -> Refusal:
    """Explain that Host is not in ALLOWED_HOSTS, whose names strangers do not learn."""
    return _refusal(
        request,
        title="The console does not respond to this address",
        sentence=(
            "The request was not processed, so no cancel was sent. Check the address in your"
            " browser. If it is right, a proxy in front of the console or ALLOWED_HOSTS is"
            " misconfigured: show this page to the system operator."
        ),
        needs=("ALLOWED_HOSTS must contain the name in the Host header.", KEEP_HOST),
    )


def _unproven_source(request: HttpRequest) -> Refusal:
    source = _source(request)
    if not source:
        return _refusal(
            request,
            title="It is not known which page sent this form",
            sentence=(
                f"{NOTHING_SENT} A proxy in front of the console is misconfigured, or your browser"
                f" or an extension hides which page sent it. {CALL_OPERATOR}"
            ),
            needs=("The Origin or Referer header must arrive as browsers send it by default.",),
        )
    scheme, _, host = source.partition("://")
    needs = []
    if scheme != request.scheme:
        needs.append(
            SEND_PROTO
            if scheme == "https"
            else "X-Forwarded-Proto says https, but the browser used http: open the console by an"
            " address that begins with https, and let the proxy send what the browser used."
        )
    if host != request.get_host() or not needs:
        needs.append(KEEP_HOST)
    sentence = f"{NOTHING_SENT} {CALL_OPERATOR}"
    if request.headers.get("Sec-Fetch-Site") != "same-origin":  # the browser has not confirmed it
        sentence += (
            " If you came from another website, that website sent the form: close this page."
        )
    return _refusal(
        request,
        title="A proxy in front of the console is misconfigured",
        sentence=sentence,
        needs=tuple(needs),
    )


def _source(request: HttpRequest) -> str:
    """Return scheme and host of the page that sent the form, empty if no header has them."""
    text = request.headers.get("Origin", request.headers.get("Referer", ""))
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""


def _refusal(request: HttpRequest, *, title: str, sentence: str, needs: tuple[str, ...]) -> Refusal:
    source = "Origin" if "Origin" in request.headers else "Referer"
    values = {
        # Of the other page no more than its site: its address may contain a reason.
        source: _source(request) or request.headers.get("Origin", ""),
        "Host": request.headers.get("Host", ""),
        "X-Forwarded-Proto": request.headers.get("X-Forwarded-Proto", ""),
    }
    cleaned = {name: clean(value, MAX_HEADER_CHARS) for name, value in values.items()}
    warn_once(
        f"{title}.",
        **{name.lower().replace("-", "_"): value for name, value in cleaned.items()},
        trusted_proxy_count=settings.TRUSTED_PROXY_COUNT,
        needs=" ".join(needs),
    )
    arrived = "\n".join(f"{name}: {value or '(missing)'}" for name, value in cleaned.items())
    return Refusal(title=title, sentence=sentence, needs=needs, arrived=arrived)
