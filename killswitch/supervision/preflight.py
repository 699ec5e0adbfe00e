"""Checks of the machine and its surroundings, before anything is started."""

import os
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import connection

from killswitch import several_hosts, structured_logs
from killswitch.runtime.text import error_line
from killswitch.supervision.checks import CannotStart
from killswitch.supervision.database_words import database_name, explained

CONNECT_TIMEOUT_S = 3.0
MAX_SOCKET_PATH_BYTES = 100  # other paths may be longer; the kernel's limit is slightly higher


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """Why the database and Redis cannot be reached at this moment, each in a sentence or ""."""

    database: str
    redis: str

    @property
    def sentences(self) -> Sequence[str]:
        return [sentence for sentence in (self.database, self.redis) if sentence]


def check(programs: Collection[str]) -> Unreachable:
    """Return what these programs cannot reach.

    Raises `CannotStart` for the first problem that waiting does not end.
    """
    path = settings.REDIS_SOCKET
    if "redis" in programs and len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise CannotStart(
            f"KILLSWITCH_HOME: {path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that the"
            " path of a socket may have. Name a directory with a shorter path."
        )
    needs_redis = "worker" in programs and "redis" not in programs
    return Unreachable(database=check_database(), redis=check_redis() if needs_redis else "")


def check_database() -> str:
    """Connect once; return why that is not possible now. Raises `CannotStart`."""

    def connect() -> None:
        try:
            connection.ensure_connection()
        finally:
            connection.close()  # of this thread

    variable = "DATABASE_URL" if settings.DATABASE_URL else "KILLSWITCH_HOME"
    target = f"{variable}: the database {database_name()}"
    path = Path(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite" and path.parent.is_dir() and not path.exists():
        raise CannotStart(
            f"{target} does not exist. If it is to be a new one, run `manage.py prepare` once, then"
            " start again."
        )
    # Each of several servers may take its time.
    servers = several_hosts.addresses(connection.settings_dict)
    return _why_unreachable(connect, target=target, timeout_s=CONNECT_TIMEOUT_S * len(servers))


def check_redis() -> str:
    """Ping once; return why that is not possible now."""

    def ping() -> None:
        with _redis() as server:
            server.ping()

    url = urlsplit(several_hosts.split(settings.REDIS_URL)[0])
    address = url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}"
    if settings.BROKER.sentinels:
        address = " or ".join(f"{host}:{port}" for host, port in settings.BROKER.sentinels)
        address = f"{settings.BROKER.master_name} of the Sentinels at {address}"
    return _why_unreachable(ping, target=f"REDIS_URL: the Redis at {address}")


def _redis() -> Any:
    """Return a client of the Redis, or of the one that the Sentinels name at this moment."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from redis.sentinel import Sentinel

    options: dict[str, Any] = {
        "socket_timeout": 2,
        "socket_connect_timeout": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    if not settings.BROKER.sentinels:
        return redis.Redis.from_url(settings.REDIS_URL, **options)
    url = urlsplit(several_hosts.split(settings.REDIS_URL)[0])
    own = {"username": unquote(url.username or "") or None, "password": unquote(url.password or "")}
    new_sentinel: Any = Sentinel  # it has no types
    sentinel = new_sentinel(settings.BROKER.sentinels, sentinel_kwargs=options, **options)
    return sentinel.master_for(settings.BROKER.master_name, **own)


def _why_unreachable(
    connect: Callable[[], None], *, target: str, timeout_s: float = CONNECT_TIMEOUT_S
) -> str:
    """Call `connect` in a thread: resolving a name has no time limit of its own."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            connect()
        except Exception as error:  # noqa: BLE001 - reported below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout_s)
    reason = f"no response within {timeout_s:.0f} seconds" if thread.is_alive() else ""
    if errors:
        reason = explained(structured_logs.masked(error_line(errors[0])).rstrip("."))
    return f"{target} cannot be reached ({reason})." if reason else ""
