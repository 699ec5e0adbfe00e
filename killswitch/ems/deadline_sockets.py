"""Connections on which every single wait ends at the call's total deadline."""

import io
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from killswitch.ems.call_deadline import CURRENT
from killswitch.ems.connecting import connect

# How the other side having gone away shows, over TCP and over TLS.
_BROKEN = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_READ_AHEAD = 64 * 1024


class DeadlineSocket:
    """A connected socket that gives every send and every receive only the call's time left.

    Timeouts of sockets are per operation; a server that sends one byte a second never meets one.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.last_used = time.monotonic()

    def sendall(self, data: bytes) -> None:
        call = CURRENT.get()
        call.left()  # with no time left nothing may leave, and `sent` must stay False
        call.begin_sending()
        view = memoryview(data)
        try:
            while view:
                self._sock.settimeout(call.left())
                view = view[self._sock.send(view) :]
        except _BROKEN:
            call.broken = True
            raise

    def makefile(self, _mode: str = "rb", *_: object) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self), _READ_AHEAD)

    def receiver(self) -> socket.SocketIO:
        """The raw reader, which keeps the socket open until it is closed itself."""
        return self._sock.makefile("rb", buffering=0)

    def limit_to(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def settimeout(self, _seconds: float | None) -> None:
        """Left without effect: the deadline of the call is the only one."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: DeadlineSocket) -> None:
        self._sock = sock
        self._raw = sock.receiver()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        call = CURRENT.get()
        self._sock.limit_to(call.left())
        try:
            count = self._raw.readinto(buffer) or 0
        except TimeoutError:
            raise call.is_over() from None
        except _BROKEN:
            call.broken = True
            raise
        call.received = call.received or count > 0
        call.broken = call.broken or count == 0
        self._sock.last_used = time.monotonic()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


if TYPE_CHECKING:
    _Connection = HTTPConnection
else:
    _Connection = object


class _DeadlineConnection(_Connection):
    _uses = 0

    def _new_conn(self) -> socket.socket:
        call = CURRENT.get()
        return connect(
            self._dns_host,
            self.port,
            timeout=min(call.connect_timeout, call.left()),
            options=cast("Any", self.socket_options) or (),
        )

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", DeadlineSocket(self.sock))
        self._uses = 0

    @property
    def is_connected(self) -> bool:
        """Asked by the pool before a connection is used again.

        A firewall may have forgotten an idle one without telling: the request would vanish.
        """
        if not super().is_connected:
            return False
        idle = time.monotonic() - cast("DeadlineSocket", self.sock).last_used
        return idle < CURRENT.get().idle_limit

    def request(self, *args: Any, **kwargs: Any) -> None:
        CURRENT.get().reused = self.sock is not None and self._uses > 0
        super().request(*args, **kwargs)
        self._uses += 1  # afterwards: the first request connects, which starts the count anew


class _PlainConnection(_DeadlineConnection, HTTPConnection):
    pass


class _TlsConnection(_DeadlineConnection, HTTPSConnection):
    pass


class PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
