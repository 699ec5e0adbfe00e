"""A TCP connection within a bounded time: name lookup and every address together."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from killswitch.runtime.deadlines import Deadline

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
SocketOption = tuple[int, int, int | bytes]

# Later calls do not wait for a lookup that has been hanging for longer than this.
SHARED_LOOKUP_S = 1.0


class Resolver:
    """Look up names on threads that a caller can stop waiting for: getaddrinfo has no timeout.

    Simultaneous calls share one lookup: a silent name server costs a few threads, not 512.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], tuple[float, Future[Sequence[Address]]]] = {}

    def resolve(self, host: str, port: int, *, timeout_s: float) -> Sequence[Address]:
        """Return the addresses of `host`. Raises OSError, TimeoutError when it takes too long."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            lookup = self._shared_lookup(host, port)
        else:
            return _getaddrinfo(host, port)  # an address literal needs no name server
        try:
            return lookup.result(timeout_s)
        except TimeoutError:
            raise TimeoutError(f"looking up {host} timed out") from None

    def _shared_lookup(self, host: str, port: int) -> "Future[Sequence[Address]]":
        with self._lock:
            started_at, lookup = self._lookups.get((host, port), (0.0, None))
            now = time.monotonic()
            if lookup is None or lookup.done() or now - started_at > SHARED_LOOKUP_S:
                lookup = Future()
                thread = threading.Thread(target=_complete, args=(lookup, host, port), daemon=True)
                thread.start()  # before others may wait for it
                self._lookups[host, port] = (now, lookup)
        return lookup


def _complete(lookup: "Future[Sequence[Address]]", host: str, port: int) -> None:
    try:
        lookup.set_result(_getaddrinfo(host, port))
    except Exception as error:  # noqa: BLE001 - raised in the threads that wait for the lookup
        lookup.set_exception(error)


def _getaddrinfo(host: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


RESOLVER = Resolver()


def connect(
    host: str, port: int, *, timeout_s: float, options: Iterable[SocketOption] = ()
) -> socket.socket:
    """Return a connection made within `timeout_s` seconds in all. Raises OSError.

    The time that remains stays on the socket as its timeout: it bounds the TLS handshake, which
    counts as connecting.
    """
    deadline = Deadline(timeout_s)
    addresses = RESOLVER.resolve(host.strip("[]"), port, timeout_s=timeout_s)
    failure: OSError = OSError(f"{host} has no address")
    for position, address in enumerate(addresses):
        family, kind, protocol, _, target = address
        try:
            with ExitStack() as cleanup:
                sock = cleanup.enter_context(socket.socket(family, kind, protocol))
                for option in options:
                    sock.setsockopt(*option)
                # An unresponsive address must not use up the time of the addresses behind it.
                sock.settimeout(_positive(deadline.seconds_left / (len(addresses) - position)))
                sock.connect(target)
                sock.settimeout(_positive(deadline.seconds_left))
                cleanup.pop_all()  # connected: it stays open
                return sock
        except OSError as error:
            failure = error
    raise failure


def _positive(seconds: float) -> float:
    """Return a timeout for a socket, on which 0 would mean "do not block". Raises TimeoutError."""
    if seconds <= 0:
        raise TimeoutError("connecting timed out")
    return seconds
