"""The addresses of the EMS: looked up within a bounded time, and kept for when no name server is.

An outage of the name service is a likely part of a bad day, and the EMS itself may still be there.
Its last known addresses are in a file as well, for a process that starts during the outage.
"""

import ipaddress
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings

from killswitch.runtime.files import read_regular, replace_file

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]

FILE = "ems_addresses.json"
# Later calls do not wait for a lookup that has been hanging for longer than this.
SHARED_LOOKUP_S = 1.0
# How long a lookup is waited for if the last known addresses can be used, and for how long after
# one that failed no call waits.
MAX_WAIT_S = 0.5
# A call that waits for less, such as one that is sent ahead, learns nothing of the name server.
MIN_WAIT_S = 0.05
FAILED_FOR_S = 5.0
MAX_AGE_S = 24 * 3600.0  # after which an address may have become that of another server

log = structlog.get_logger(__name__)


class KnownAddresses:
    """The addresses that were looked up last, of this process and in a file of the host."""

    def __init__(self, home: Callable[[], Path]) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._known: dict[str, tuple[float, Sequence[str]]] = {}  # with the time of the lookup

    def remember(self, host: str, addresses: Sequence[Address]) -> None:
        """Remember what was looked up; never raises."""
        numbers = list(dict.fromkeys(str(address[4][0]) for address in addresses))
        with self._lock:
            self._known[host] = (time.time(), numbers)
        # Not under the lock of the addresses: a disk that hangs must hold no call up.
        if not self._writing.acquire(blocking=False):
            return
        try:
            path = self._home() / FILE
            if sorted(self._read(host)[1]) == sorted(numbers):
                os.utime(path)
            else:
                replace_file(path, json.dumps({host: numbers}).encode())
        except OSError as error:
            log.warning("ems_addresses_not_kept", error=str(error))
        finally:
            self._writing.release()

    def get(self, host: str, port: int) -> Sequence[Address]:
        """Return the addresses that are known, none if they are too old; never raises."""
        with self._lock:
            known = self._known.get(host)
        looked_up_at, numbers = known or self._read(host)
        if not 0 <= time.time() - looked_up_at < MAX_AGE_S:
            return []
        addresses: list[Address] = []
        for number in numbers:
            with suppress(OSError):  # an IPv6 address may name an interface that is gone
                addresses += _getaddrinfo(number, port)
        return addresses

    def _read(self, host: str) -> tuple[float, Sequence[str]]:
        path = self._home() / FILE
        try:
            looked_up_at = path.stat().st_mtime
            numbers = json.loads(read_regular(path)).get(host, [])
            return looked_up_at, [str(ipaddress.ip_address(number)) for number in numbers]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return 0.0, []


class Resolver:
    """Look up names on threads that a caller can stop waiting for: getaddrinfo has no timeout.

    Simultaneous calls share one lookup: a silent name server costs a few threads, not 512.
    """

    def __init__(self, known: KnownAddresses) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], tuple[float, Future[Sequence[Address]]]] = {}
        self._failed_at = float("-inf")

    @property
    def uses_known_addresses(self) -> bool:
        """Return whether the last lookup has failed, moments ago, and its result was replaced."""
        return time.monotonic() - self._failed_at < 2 * FAILED_FOR_S

    def resolve(self, host: str, port: int, *, timeout_s: float) -> Sequence[Address]:
        """Return the addresses of `host`, now or those known last.

        Raises OSError without either, TimeoutError when it takes too long.
        """
        try:
            ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return _getaddrinfo(host, port)  # an address literal needs no name server
        known = self._known.get(host, port)
        wait_s = timeout_s
        if known:
            has_just_failed = time.monotonic() - self._failed_at < FAILED_FOR_S
            wait_s = 0.0 if has_just_failed else min(timeout_s, MAX_WAIT_S)
        lookup = self._shared_lookup(host, port)
        try:
            return lookup.result(wait_s)
        except OSError as error:  # also a TimeoutError
            if not known:
                if lookup.done():
                    raise
                raise TimeoutError(f"looking up {host} timed out") from None
            if wait_s and (lookup.done() or wait_s >= MIN_WAIT_S):
                self._failed_at = time.monotonic()
                log.warning("ems_name_not_looked_up", host=host, error=str(error) or "timed out")
            return known

    def _shared_lookup(self, host: str, port: int) -> "Future[Sequence[Address]]":
        with self._lock:
            started_at, lookup = self._lookups.get((host, port), (0.0, None))
            now = time.monotonic()
            if lookup is None or lookup.done() or now - started_at > SHARED_LOOKUP_S:
                lookup = Future()
                arguments = (lookup, host, port)
                thread = threading.Thread(target=self._complete, args=arguments, daemon=True)
                thread.start()  # before others may wait for it
                self._lookups[host, port] = (now, lookup)
        return lookup

    def _complete(self, lookup: "Future[Sequence[Address]]", host: str, port: int) -> None:
        try:
            addresses = _getaddrinfo(host, port)
        except Exception as error:  # noqa: BLE001 - raised in the threads that wait for the lookup
            lookup.set_exception(error)
            return
        lookup.set_result(addresses)
        self._failed_at = float("-inf")
        self._known.remember(host, addresses)


def _getaddrinfo(host: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


RESOLVER = Resolver(KnownAddresses(lambda: Path(settings.KILLSWITCH_HOME)))
"""That of this process."""
