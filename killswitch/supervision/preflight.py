"""Checks of the machine and its surroundings, before anything is started."""

import errno
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connection

from killswitch import structured_logs
from killswitch.runtime.text import error_line
from killswitch.supervision.checks import CannotStart, database_name

CONNECT_TIMEOUT_S = 3.0
MAX_SOCKET_PATH_BYTES = 100  # the kernel's own limit is slightly higher


def check(programs: Iterable[str]) -> None:
    """Raise `CannotStart` for the first problem of the programs with these names."""
    names = set(programs)
    if "redis" in names:
        check_socket_path(settings.REDIS_SOCKET)
    if "web" in names:
        check_port(name="PORT", host=settings.HOST, port=settings.PORT)
    if "simulator" in names:
        check_port(name="SIMULATOR_PORT", host="127.0.0.1", port=settings.SIMULATOR_PORT)
    check_database()
    # Only the worker needs Redis: the other programs must start even while it is down.
    if "worker" in names and "redis" not in names:
        check_redis()


def check_socket_path(path: Path) -> None:
    """Check the length: a Unix socket's path has a limit that other files do not have."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise CannotStart(
            f"KILLSWITCH_HOME: {path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that the"
            " path of a socket may have. Name a directory with a shorter path."
        )


def check_port(*, name: str, host: str, port: int) -> None:
    """Bind the port once: the web server itself would silently share one that is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"{name}: port {port} on {host} is already in use by another program."
                f" Stop that one, or set {name} to a free port."
            ) from None
        raise CannotStart(
            f"{name}: port {port} on {host} cannot be used ({error.strerror or error})."
            f" Check HOST and {name}."
        ) from None


def check_database() -> None:
    """Connect once."""

    def connect() -> None:
        try:
            connection.ensure_connection()
        finally:
            connection.close()  # of this thread

    variable = "DATABASE_URL" if settings.DATABASE_URL else "KILLSWITCH_HOME"
    _reach(connect, target=f"{variable}: the database {database_name()}")


def check_redis() -> None:
    """Ping once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url = urlsplit(settings.REDIS_URL)
    options: dict[str, Any] = {"socket_timeout": 2, "retry": Retry(NoBackoff(), 0)}
    if url.scheme != "unix":
        options["socket_connect_timeout"] = 2

    def ping() -> None:
        with redis.Redis.from_url(settings.REDIS_URL, **options) as server:
            server.ping()

    address = url.path if url.scheme == "unix" else f"{url.hostname}:{url.port or 6379}"
    _reach(ping, target=f"REDIS_URL: the Redis at {address}")


def _reach(connect: Callable[[], None], *, target: str) -> None:
    """Call `connect` in a thread: resolving a name has no time limit of its own."""
    results: queue.Queue[Exception | None] = queue.Queue()

    def run() -> None:
        try:
            connect()
        except Exception as error:  # noqa: BLE001 - reported below
            results.put(error)
        else:
            results.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        error = results.get(timeout=CONNECT_TIMEOUT_S)
    except queue.Empty:
        reason = f"no response within {CONNECT_TIMEOUT_S:.0f} seconds"
        raise CannotStart(f"{target} cannot be reached ({reason}).") from None
    if error is not None:
        reason = structured_logs.masked(error_line(error)).rstrip(".")
        raise CannotStart(f"{target} cannot be reached ({reason}).")
