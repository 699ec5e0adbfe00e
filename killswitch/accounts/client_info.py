"""Where a request came from: its address and its user agent, as text for the audit log."""

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

from killswitch.runtime.proxy_warnings import warn_once
from killswitch.runtime.text import escape_controls, truncate

MAX_USER_AGENT_CHARS = 300
MAX_FORWARDED_CHARS = 200
# Proxies write 203.0.113.7:54321 and [2001:db8::7]:54321; a plain IPv6 address does not match.
ADDRESS_AND_PORT = re.compile(
    r"(?:\[(?P<in_brackets>[^\]]+)\]|(?P<ipv4>[^\[\]:]+))(?::[0-9]{1,5})?"
)


def clean(text: str, limit: int) -> str:
    """Return foreign text with its control characters escaped, in at most `limit` characters."""
    return truncate(escape_controls(text[: limit + 1]), limit)


def address(request: HttpRequest) -> str:
    """Return the IP address of the browser, empty if it is not known.

    X-Forwarded-For is believed for as many hops as we have proxies of our own. If the hop of the
    outermost one is missing or is not an address, the address of the innermost one is returned: an
    address made of foreign text would start a new rate limit with each text.
    """
    ip, problem = _locate(request)
    if problem:
        warn_once(
            problem,
            x_forwarded_for=clean(request.headers.get("X-Forwarded-For", ""), MAX_FORWARDED_CHARS),
            trusted_proxy_count=settings.TRUSTED_PROXY_COUNT,
            address_used=ip,
        )
    return ip


def shares_address(request: HttpRequest) -> bool:
    """Return whether the address is that of a proxy, which all of its users then share."""
    return bool(_locate(request)[1])


def _locate(request: HttpRequest) -> tuple[str, str]:
    """Return the address, and why it is not the browser's if a proxy is misconfigured."""
    proxies = settings.TRUSTED_PROXY_COUNT
    forwarded = request.headers.get("X-Forwarded-For", "").strip()
    hops = forwarded.split(",") if forwarded else []
    peer = parse_ip(request.META.get("REMOTE_ADDR", ""))
    if not proxies:
        problem = "X-Forwarded-For arrived, but TRUSTED_PROXY_COUNT is 0." if hops else ""
        return peer, problem
    if len(hops) < proxies:
        return peer, "X-Forwarded-For has fewer addresses than TRUSTED_PROXY_COUNT."
    if client_ip := parse_ip(hops[-proxies]):
        return client_ip, ""
    return peer, "X-Forwarded-For has something else where the browser's address must be."


def parse_ip(text: str) -> str:
    """Return the IP address in its shortest form, empty if the text is not one.

    Ports, brackets, quotes and the zone of an interface are removed. IPv4 addresses as an IPv6
    socket writes them (::ffff:203.0.113.7) become IPv4 addresses: all of them are in one /64.
    """
    text = text.strip().strip("\"'").strip()
    if match := ADDRESS_AND_PORT.fullmatch(text):
        text = match["in_brackets"] or match["ipv4"]
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


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
