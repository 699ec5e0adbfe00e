"""Looks for what would keep the system from running, before anything is started."""

import errno
import logging
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
from killswitch.alarms.channels import channels
from killswitch.supervision import database_checks
from killswitch.supervision.errors import CannotStart

CHECK_TIMEOUT_S = 3.0  # seconds for each look at another machine
MAX_SOCKET_PATH_BYTES = 100  # bytes; the kernel's own limit is a little above


def check(programs: Iterable[str]) -> None:
    """Raise `CannotStart` for the first thing that is wrong for the programs of these names."""
    names = set(programs)
    if "redis" in names:
        check_socket_path(settings.REDIS_SOCKET)
    if "web" in names:
        check_port(name="PORT", host=settings.HOST, port=settings.PORT)
    if "simulator" in names:
        check_port(name="SIMULATOR_PORT", host="127.0.0.1", port=settings.SIMULATOR_PORT)
    check_ems()
    check_alert_urls()
    check_database()
    # Only the worker cannot do without: the others must start even while Redis is down.
    if "worker" in names and "redis" not in names:
        check_redis()


def check_socket_path(path: Path) -> None:
    """A Unix socket's path has a limit that other files do not have."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise CannotStart(
            f"KILLSWITCH_HOME: {path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that the"
            " path of a socket may have. Name a directory with a shorter path."
        )


def check_host() -> None:
    """The name must mean an address."""
    try:
        _resolve(host=settings.HOST, port=settings.PORT)
    except OSError as error:
        why = error.strerror or error
        raise CannotStart(f"HOST={settings.HOST!r} is not an address ({why}).") from None


def check_port(*, name: str, host: str, port: int) -> None:
    """Try the port by binding it: the web server itself would silently share a taken one."""
    try:
        family, kind, protocol, _, address = _resolve(host=host, port=port)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise CannotStart(_why_not(error, name=name, host=host, port=port)) from None


def check_ems() -> None:
    """A client can be made of the settings. Whether the EMS answers, readiness tells."""
    from killswitch.ems.client import EmsClient
    from killswitch.ems.transport.session import tls_context

    for name, option in {"EMS_CLIENT_CERT": "client_cert", "EMS_CA_BUNDLE": "ca_bundle"}.items():
        if not (path := getattr(settings, name)):
            continue
        files = {"client_cert": "", "ca_bundle": ""} | {option: path}
        try:
            tls_context(base_url="https:", **files)
        except OSError as error:
            raise CannotStart(
                f"{name}: {path} cannot be used ({error.strerror or error})."
                " Name a PEM file that this user can read, without a password."
            ) from None
    try:
        EmsClient.from_settings().close()
    except ValueError as error:
        raise CannotStart(f"{error}.") from None


def check_alert_urls() -> None:
    """Each is one that can be told; an alarm would be a late moment to find out."""
    import apprise

    logging.getLogger("apprise").disabled = True  # our one sentence is enough
    try:
        wrong = [place for place, url in channels().items() if not apprise.Apprise().add(url)]
    finally:
        logging.getLogger("apprise").disabled = False
    if wrong:
        raise CannotStart(
            f"ALERT_URLS: number {wrong[0]} is in none of the notations of the apprise library,"
            " so nobody could be told of alarms there."
        )


def check_database() -> None:
    """Connect once."""

    def connect() -> None:
        try:
            connection.ensure_connection()
        finally:
            connection.close()  # of this thread

    variable = "DATABASE_URL" if settings.DATABASE_URL else "KILLSWITCH_HOME"
    _within(connect, what=f"{variable}: the database {database_checks.name()} cannot be reached")


def check_redis() -> None:
    """Ask it once."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    def ping() -> None:
        once = Retry(NoBackoff(), 0)
        options: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2, "retry": once}
        if settings.REDIS_URL.startswith("unix:"):
            del options["socket_connect_timeout"]
        with redis.Redis.from_url(settings.REDIS_URL, **options) as server:
            server.ping()

    where = urlsplit(settings.REDIS_URL)
    place = where.path if where.scheme == "unix" else f"{where.hostname}:{where.port or 6379}"
    _within(ping, what=f"REDIS_URL: the Redis at {place} cannot be reached")


def _resolve(*, host: str, port: int) -> Any:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _why_not(error: OSError, *, name: str, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"{name}: port {port} on {host} is taken by another program."
            f" Stop that one, or set {name} to a free port."
        )
    reason = error.strerror or str(error)
    return f"{name}: port {port} on {host} cannot be used ({reason}). Check HOST and {name}."


def _within(look: Callable[[], None], *, what: str) -> None:
    """Call it in a thread, because resolving a name has no time limit of its own."""
    results: queue.Queue[Exception | None] = queue.Queue()

    def run() -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - whatever it was is the answer
            results.put(error)
        else:
            results.put(None)

    threading.Thread(target=run, daemon=True).start()
    try:
        error = results.get(timeout=CHECK_TIMEOUT_S)
    except queue.Empty:
        raise CannotStart(f"{what} (no answer within {CHECK_TIMEOUT_S:.0f} seconds).") from None
    if error is not None:
        lines = structured_logs.masked(str(error)).strip().splitlines() or [type(error).__name__]
        raise CannotStart(f"{what} ({lines[0].rstrip('.')}).")
