"""A TCP connection within a bounded time: name lookup and every address together."""

import socket
from collections.abc import Iterable
from contextlib import ExitStack

from killswitch.ems.transport.resolving import RESOLVER
from killswitch.runtime.deadlines import Deadline

SocketOption = tuple[int, int, int | bytes]


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
