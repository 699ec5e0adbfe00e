"""A TCP connection within a bounded time: name lookup and every address together."""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
SocketOption = tuple[int, int, int | bytes]

# A lookup that hangs longer than this is not waited for by calls that come later.
SHARED_LOOKUP_S = 1.0


class Resolver:
    """getaddrinfo has no timeout, so it runs on a thread that a caller can stop waiting for.

    Calls that come together share one lookup: a silent name server costs a few threads, not 512.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lookups: dict[tuple[str, int], tuple[float, Future[Sequence[Address]]]] = {}

    def resolve(self, host: str, port: int, *, timeout: float) -> Sequence[Address]:
        """The addresses of `host`. Raises OSError, TimeoutError when it takes too long."""
        if _is_literal(host):
            return _lookup(host, port)
        try:
            return self._shared(host, port).result(timeout)
        except TimeoutError:
            raise TimeoutError(f"looking up {host} took too long") from None

    def _shared(self, host: str, port: int) -> "Future[Sequence[Address]]":
        with self._lock:
            begun, lookup = self._lookups.get((host, port), (0.0, None))
            now = time.monotonic()
            if lookup is None or lookup.done() or now - begun > SHARED_LOOKUP_S:
                lookup = Future()
                self._lookups[host, port] = (now, lookup)
                thread = threading.Thread(target=_fill, args=(lookup, host, port), daemon=True)
                thread.start()
        return lookup


def _fill(lookup: "Future[Sequence[Address]]", host: str, port: int) -> None:
    try:
        lookup.set_result(_lookup(host, port))
    except Exception as error:  # noqa: BLE001 - whoever waits for the lookup gets it
        lookup.set_exception(error)


def _lookup(host: str, port: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


RESOLVER = Resolver()


def connect(
    host: str, port: int, *, timeout: float, options: Iterable[SocketOption] = ()
) -> socket.socket:
    """Connect within `timeout` seconds in all. Raises OSError.

    What is left of the time stays on the socket as its timeout: it bounds the TLS handshake,
    which counts as connecting.
    """
    ends = time.monotonic() + timeout
    addresses = RESOLVER.resolve(host.strip("[]"), port, timeout=timeout)
    failure: OSError = OSError(f"{host} has no address")
    for position, address in enumerate(addresses):
        # A black hole must not use up the time of the addresses behind it.
        share = (ends - time.monotonic()) / (len(addresses) - position)
        try:
            sock = _connect(address, timeout=share, options=options)
            sock.settimeout(_positive(ends - time.monotonic()))
        except OSError as error:
            failure = error
        else:
            return sock
    raise failure


def _connect(address: Address, *, timeout: float, options: Iterable[SocketOption]) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        for option in options:
            sock.setsockopt(*option)
        sock.settimeout(_positive(timeout))
        sock.connect(where)
    except BaseException:
        sock.close()
        raise
    return sock


def _positive(seconds: float) -> float:
    """A timeout of 0 would mean "do not block", which is not what running out of time is."""
    if seconds <= 0:
        raise TimeoutError("connecting took too long")
    return seconds
