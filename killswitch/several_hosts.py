"""Reads URLs with several hosts, of servers of which one takes over when another fails.

libpq writes them `postgresql://user:password@h1:5432,h2:5432/name`, which Python's own parser takes
for one host with an invalid port.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

HINT = (
    "Several hosts are separated by commas, each with its port:"
    " scheme://user:password@host1:5432,host2:5432/name. In a password, write / ? # @ as %2F %3F"
    " %23 %40."
)
HOSTS = re.compile(r"^([^/?#]+://(?:[^/?#]*@)?)([^/?#]*)")
DEFAULT_PORT = 5432
# What libpq can ask of a server that events are written to.
WRITABLE = ("read-write", "primary")


def split(url: str) -> list[str]:
    """Return a URL for each host. Raises `ValueError` if one of several hosts is empty."""
    match = HOSTS.match(url)
    if not match or "," not in match[2]:
        return [url]
    urls = [f"{match[1]}{host}{url[match.end() :]}" for host in match[2].split(",")]
    if not all(urlsplit(one).hostname for one in urls):
        raise ValueError("a host is empty")
    return urls


def database(url: str) -> dict[str, Any]:
    """Return Django's settings of a database; of several servers, only one that can be written to.

    A cancel cannot be recorded on a standby, which would nevertheless accept the connection.
    """
    servers: list[dict[str, Any]] = [{**dj_database_url.parse(one)} for one in split(url)]
    settings = servers[0]
    if ("options", "") in parse_qsl(urlsplit(split(url)[0]).query, keep_blank_values=True):
        settings["OPTIONS"] = settings.get("OPTIONS", {}) | {"options": ""}  # libpq sends none
    if len(servers) == 1:
        return settings
    settings["HOST"] = ",".join(server["HOST"] for server in servers)
    settings["PORT"] = ",".join(str(server["PORT"] or DEFAULT_PORT) for server in servers)
    options = {"target_session_attrs": WRITABLE[0], **settings.get("OPTIONS", {})}
    if options["target_session_attrs"] not in WRITABLE:
        raise ImproperlyConfigured(
            "DATABASE_URL: target_session_attrs must be read-write, its default with several hosts:"
            " no cancel can be recorded on a standby."
        )
    return settings | {"OPTIONS": options}


def addresses(database: dict[str, Any]) -> list[str]:
    """Return host and port of each server in Django's settings of a database."""
    hosts, ports = str(database["HOST"]).split(","), str(database["PORT"]).split(",")
    return [
        f"{host or 'localhost'}:{port or DEFAULT_PORT}"
        for host, port in zip(hosts, ports, strict=True)
    ]
