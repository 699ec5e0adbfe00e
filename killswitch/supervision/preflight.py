"""Checks of the machine and its surroundings, before anything is started."""

import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from killswitch import structured_logs
from killswitch.runtime.text import error_line
from killswitch.supervision.checks import CannotStart, database_name, explained

CONNECT_TIMEOUT_S = 3.0
MAX_SOCKET_PATH_BYTES = 100  # other paths may be longer; the kernel's limit is slightly higher


def check(programs: Collection[str]) -> None:
    """Raise `CannotStart` for the first problem of the programs with these names."""
    path = settings.REDIS_SOCKET
    if "redis" in programs and len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise CannotStart(
            f"KILLSWITCH_HOME: {path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that the"
            " path of a socket may have. Name a directory with a shorter path."
        )
    check_database()
    # Only the worker needs Redis: the other programs must start even while it is down.
    if "worker" in programs and "redis" not in programs:
        check_redis()


def check_database() -> None:
    """Connect once."""

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
    _reach(connect, target=target)


def check_redis() -> None:
    """Ping once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def ping() -> None:
        with redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),
        ) as server:
            server.ping()

    url = urlsplit(settings.REDIS_URL)
    address = url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}"
    _reach(ping, target=f"REDIS_URL: the Redis at {address}")


def _reach(connect: Callable[[], None], *, target: str) -> None:
    """Call `connect` in a thread: resolving a name has no time limit of its own."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            connect()
        except Exception as error:  # noqa: BLE001 - reported below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(CONNECT_TIMEOUT_S)
    reason = f"no response within {CONNECT_TIMEOUT_S:.0f} seconds" if thread.is_alive() else ""
    if errors:
        reason = explained(structured_logs.masked(error_line(errors[0])).rstrip("."))
    if reason:
        raise CannotStart(f"{target} cannot be reached ({reason}).")
