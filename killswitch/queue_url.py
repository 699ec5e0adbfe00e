"""Reads REDIS_URL for Celery: one Redis, with or without TLS, or the master that Sentinels name."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.core.exceptions import ImproperlyConfigured

from killswitch import several_hosts

DEFAULT_SENTINEL_PORT = 26379


@dataclass(frozen=True, kw_only=True)
class Broker:
    """What Celery needs of the URL."""

    url: str
    tls: dict[str, Any] | None  # as kombu names its options
    sentinels: tuple[tuple[str, int], ...]
    master_name: str  # as the Sentinels know it

    @property
    def transport_options(self) -> dict[str, Any]:
        if not self.sentinels:
            return {}
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # One that does not respond is not asked again: the next one may know.
        once = {"socket_timeout": 1, "socket_connect_timeout": 1, "retry": Retry(NoBackoff(), 0)}
        return {"master_name": self.master_name, "sentinel_kwargs": once}


def broker(url: str) -> Broker:
    """Return what the URL means. Raises `ImproperlyConfigured`."""
    urls = several_hosts.split(url)
    scheme = urlsplit(urls[0]).scheme
    options = dict(parse_qsl(urlsplit(urls[0]).query))
    tls = {name: options.pop(name) for name in [*options] if name.startswith("ssl_")}
    if scheme != "sentinel":
        if len(urls) > 1 or "master_name" in options:
            raise ImproperlyConfigured(
                "REDIS_URL: only Sentinels may be several, and know a master_name:"
                " sentinel://:password@host1:26379,host2:26379/0?master_name=mymaster"
            )
        return Broker(
            url=_with_query(urls[0], options).replace("unix://", "redis+socket://", 1),
            tls=_verifying(tls) if scheme == "rediss" else None,
            sentinels=(),
            master_name="",
        )
    if tls or not options.get("master_name"):
        raise ImproperlyConfigured(
            "REDIS_URL: Sentinels are asked without TLS for the Redis that they know as"
            " master_name, which must be given:"
            " sentinel://:password@host1:26379,host2:26379/0?master_name=mymaster"
        )
    master_name = options.pop("master_name")
    parts = [urlsplit(one) for one in urls]
    return Broker(
        url=";".join(_with_query(one, options) for one in urls),
        tls=None,
        sentinels=tuple(
            (part.hostname or "", part.port or DEFAULT_SENTINEL_PORT) for part in parts
        ),
        master_name=master_name,
    )


def _with_query(url: str, options: dict[str, str]) -> str:
    query = urlencode(options, safe="/~")
    return url.partition("?")[0] + (f"?{query}" if query else "")


def _verifying(tls: dict[str, str]) -> dict[str, Any]:
    """Return kombu's options; without any, it would not verify the certificate of the server."""
    return {
        "ssl_cert_reqs": "required",
        **tls,
        "ssl_check_hostname": tls.get("ssl_check_hostname", "true").lower() != "false",
    }
