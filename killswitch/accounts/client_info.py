"""Where a request came from, as text that the log can hold: its address and its user agent."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

MAX_USER_AGENT_CHARS = 300  # characters
CUT = "…"


def clean(text: str, limit: int) -> str:
    """Foreign text without control characters or halves of surrogate pairs, cut to `limit`."""
    shown = "".join(_shown(sign) for sign in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + CUT


def address(request: HttpRequest) -> str:
    """The IP address of the browser, or nothing.

    Only as many hops of X-Forwarded-For are believed as there are proxies of our own; a request
    with fewer did not come through them.
    """
    proxies = settings.TRUSTED_PROXY_COUNT
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    if proxies and len(hops) >= proxies and (forwarded := _ip(hops[-proxies])):
        return forwarded
    return _ip(request.META.get("REMOTE_ADDR", ""))


def neighbourhood(ip: str) -> str:
    """Whom one subscriber can be: an IPv4 address, or the /64 around an IPv6 address."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network(f"{ip.partition('%')[0]}/64", strict=False))


def client_info(request: HttpRequest) -> dict[str, str]:
    """What every event of a person carries: `address` and `user_agent`."""
    return {
        "address": address(request),
        "user_agent": clean(request.headers.get("User-Agent", ""), MAX_USER_AGENT_CHARS),
    }


def _shown(sign: str) -> str:
    if sign.isprintable():
        return sign
    return " " if sign.isspace() else "\N{REPLACEMENT CHARACTER}"


def _ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""
