"""Django system checks that warn of values that are accepted, but written wrongly."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from killswitch.supervision.checks import CONFIGURATION, QUOTES

# A list counts as many values.
TEXT_SETTINGS = (
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "AUDIT_SIGNING_KEY", "EMS_BASE_URL", "EMS_API_KEY"),
    *(
        "EMS_CLIENT_CERT",
        "EMS_CA_BUNDLE",
        "DATABASE_URL",
        "REDIS_URL",
        "ALERT_URLS",
        "ARCHIVE_URLS",
    ),
    "KILLSWITCH_HOME",
)
# What else to do when the quotation marks of a value that is in use are removed.
WITHOUT_QUOTES = {
    "SECRET_KEY": " Until the sessions have ended and second factors have been set up again, keep"
    " the value with its quotation marks in SECRET_KEY_FALLBACKS.",
    "KILLSWITCH_HOME": " Move the directory's files to the new place first.",
}
OWN_PATH = re.compile(r"/v1(/orders)?(?=/*$)")
MAX_NAME_CHARS = 253
MAX_LABEL_CHARS = 63


@checks.register(CONFIGURATION, deploy=True)
def check_allowed_hosts(**_: Any) -> Iterator[CheckMessage]:
    """Check that each entry can match what browsers send."""
    for host in settings.ALLOWED_HOSTS:
        if reason := why_never_matched(host):
            name = "HOST" if host.strip("[]") == settings.HOST else "ALLOWED_HOSTS"
            text = f"{name}: {host} can match no request: {reason}."
            yield checks.Warning(text, id="killswitch.W005")


def why_never_matched(host: str) -> str:
    """Return why an entry of ALLOWED_HOSTS matches nothing, and what to write, or an empty text."""
    name = host.removeprefix(".")
    if host == "*":
        return ""
    if not name.isascii():
        return f"browsers send names in ASCII{_suggestion(_punycode(name), host=host)}"
    if name.endswith("."):
        return f"a dot at the end is not compared{_suggestion(name.rstrip('.'), host=host)}"
    if "_" in name:
        return "a host name must not contain an underscore; give this machine another name"
    if name.startswith("[") or name.rpartition(".")[2].isdigit():
        try:
            address = str(ipaddress.ip_address(name.strip("[]")))
        except ValueError:
            return "it is not an IP address"
        expected = f"[{address}]" if ":" in address else address
        # Python's versions write an IPv4 address within an IPv6 one differently.
        is_same = ("." in name and ":" in name) or expected == name.lower()
        return "" if is_same else f"browsers shorten addresses{_suggestion(expected, host=host)}"
    if len(name) > MAX_NAME_CHARS or max(map(len, name.split("."))) > MAX_LABEL_CHARS:
        return f"a name has at most {MAX_LABEL_CHARS} characters between two dots"
    return ""


def _suggestion(name: str, *, host: str) -> str:
    return f"; write {'.' if host.startswith('.') else ''}{name}" if name else ""


def _punycode(name: str) -> str:
    import idna  # comes with requests, and follows the browsers' rules, unlike Python's own codec

    try:
        return idna.encode(name.rstrip("."), uts46=True).decode()
    except idna.IDNAError:
        return ""


@checks.register(CONFIGURATION, deploy=True)
def check_quotes(**_: Any) -> Iterator[CheckMessage]:
    """Check for quotation marks, which a shell removes but an `env_file` may not."""
    for name in TEXT_SETTINGS:
        value = getattr(settings, name)
        values = value if isinstance(value, list | tuple) else [str(value)]
        if any(text and (text[0] in QUOTES or text[-1] in QUOTES) for text in values):
            text = (
                f"{name} begins or ends with a quotation mark, which is used as part of the value:"
                f" write it without.{WITHOUT_QUOTES.get(name, '')}"
            )
            yield checks.Warning(text, id="killswitch.W006")


@checks.register(CONFIGURATION, deploy=True)
def check_ems_url(**_: Any) -> Iterator[CheckMessage]:
    """Check that the URL has no path of ours, and that keys are not sent in clear text."""
    if settings.DEMO:
        return
    url = urlsplit(settings.EMS_BASE_URL)
    if path := OWN_PATH.search(url.path):
        text = f"EMS_BASE_URL ends in {path[0]}, but /v1/orders is added to it: remove {path[0]}."
        yield checks.Warning(text, id="killswitch.W007")
    if url.scheme != "http":
        return
    if settings.EMS_API_KEY and not is_this_machine(url.hostname or ""):
        text = (
            f"EMS_BASE_URL is plain http, and {url.hostname} is not this machine: everyone on the"
            " network between can read EMS_API_KEY, cancel orders with it, and forge the EMS's"
            " responses. Write https://."
        )
        yield checks.Warning(text, id="killswitch.W008")
    unused = [name for name in ("EMS_CLIENT_CERT", "EMS_CA_BUNDLE") if getattr(settings, name)]
    if unused:
        text = (
            f"{' and '.join(unused)} {'is' if len(unused) == 1 else 'are'} not used, because"
            " EMS_BASE_URL is plain http: the EMS is not authenticated. Write https://."
        )
        yield checks.Warning(text, id="killswitch.W009")


def is_this_machine(host: str) -> bool:
    """Return whether the host is certainly this machine; names are not looked up."""
    name = host.removesuffix(".").lower()
    if name in {"localhost", socket.gethostname().lower()} or name.endswith(".localhost"):
        return True
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    family, kind, _, _, address = found[0]
    try:
        with socket.socket(family, kind) as probe:
            probe.bind(address)  # only possible with an address of this machine
    except OSError:
        return ipaddress.ip_address(address[0]).is_loopback
    return True
