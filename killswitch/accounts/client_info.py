"""Where a request came from: its address and its user agent, as text for the audit log."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

from killswitch.runtime.text import escape_controls, truncate

MAX_USER_AGENT_CHARS = 300


def clean(text: str, limit: int) -> str:
    """Return foreign text with its control characters escaped, in at most `limit` characters."""
    return truncate(escape_controls(text[: limit + 1]), limit)


def address(request: HttpRequest) -> str:
    """Return the IP address of the browser, empty if it is not known.

    X-Forwarded-For is believed for as many hops as we have proxies of our own; a request with
    fewer hops did not come through them.
    """
    proxies = settings.TRUSTED_PROXY_COUNT
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    if proxies and len(hops) >= proxies and (client_ip := _parse_ip(hops[-proxies])):
        return client_ip
    return _parse_ip(request.META.get("REMOTE_ADDR", ""))


def neighbourhood(ip: str) -> str:
    """Return the network that one subscriber has: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in ip:
        return ip
    return str(ipaddress.ip_network(f"{ip.partition('%')[0]}/64", strict=False))


def client_info(request: HttpRequest) -> dict[str, str]:
    """Return the `address` and `user_agent` that every event of a user carries."""
    return {
        "address": address(request),
        "user_agent": clean(request.headers.get("User-Agent", ""), MAX_USER_AGENT_CHARS),
    }


def _parse_ip(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return ""
