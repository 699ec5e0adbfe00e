"""Connections on which every single wait ends at the call's total deadline."""

import errno
import io
import os
import queue
import socket
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.wait import wait_for_write

from killswitch.ems.transport.call_deadline import CURRENT, SentAhead
from killswitch.ems.transport.connecting import connect
from killswitch.ems.transport.tls_alerts import certificate_rejection

# The errors that show, over TCP and over TLS, that the other side is gone.
_DISCONNECTIONS = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)

_READ_AHEAD_BYTES = 64 * 1024
_LINE_PIECE_BYTES = 64 * 1024
# To open one connection after the other is faster than a thread for each only if none takes longer
# than this. Once more than so much has been lost, the others are left to threads; a busy machine
# may make one of them wait for a time slice.
_NEAR_S = 0.001
_MAX_LOST_S = 0.005
_REST_OF_A_PRESS_S = 0.1
_UNREACHABLE_FOR_S = 60.0


class DeadlineSocket:
    """A connected socket that gives each send and each receive only the call's remaining time.

    A socket's own timeout is per operation; a server that sends one byte a second never meets it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # To be read now: after an alert, OpenSSL no longer knows the version.
        self._is_tls_1_3 = isinstance(sock, ssl.SSLSocket) and sock.version() == "TLSv1.3"
        self.last_used_at = time.monotonic()

    def sendall(self, data: bytes) -> None:
        call = CURRENT.get()
        call.seconds_left()  # once time is over no byte may leave, and `sent` must stay False
        call.begin_sending()
        view = memoryview(data)
        try:
            while view:
                self._sock.settimeout(call.seconds_left())
                view = view[self._sock.send(view) :]
        except _DISCONNECTIONS as error:
            call.broken = True
            # urllib3 then reads what the server sent before it closed: an answer, or a TLS alert.
            raise BrokenPipeError(*error.args) from error

    def makefile(self, _mode: str = "rb", *_: object) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self), _READ_AHEAD_BYTES)

    def raw_reader(self) -> socket.SocketIO:
        """Return an unbuffered reader, which keeps the socket open until it is closed itself."""
        return self._sock.makefile("rb", buffering=0)

    def handshake_may_be_open(self) -> bool:
        """Return True if the server may not have checked our certificate yet.

        A TLS 1.3 client sends its first request before that. Afterwards, most servers issue a
        session ticket. In other versions the handshake, with this check, is over before a request;
        only a renegotiation, perhaps because of the request, checks a certificate later.
        """
        if not self._is_tls_1_3:
            return False
        session = cast("ssl.SSLSocket", self._sock).session
        return session is not None and not session.has_ticket

    def set_read_timeout(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def settimeout(self, _seconds: float | None) -> None:
        """Ignore what requests and urllib3 set: the call's deadline is the only one."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()


class _DeadlineReader(io.RawIOBase):
    def __init__(self, sock: DeadlineSocket) -> None:
        self._sock = sock
        self._raw = sock.raw_reader()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        call = CURRENT.get()
        self._sock.set_read_timeout(call.seconds_left())
        try:
            count = self._raw.readinto(buffer) or 0
        except TimeoutError:
            raise call.timeout_error() from None
        except _DISCONNECTIONS:
            call.broken = True
            raise
        except ssl.SSLError as error:
            is_first = not call.reused and not call.received
            call.received = True
            if is_first and certificate_rejection(error) and self._sock.handshake_may_be_open():
                call.rejected = True
            raise
        call.received = call.received or count > 0
        call.broken = call.broken or count == 0
        self._sock.last_used_at = time.monotonic()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _FinalResponse(HTTPResponse):
    """A response that skips interim answers (1xx) before it: http.client skips only 100.

    101 is not interim: after it the connection no longer speaks HTTP.
    """

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= 200 or status == HTTPStatus.SWITCHING_PROTOCOLS:
                return version, status, reason
            self._skip_headers()

    def _skip_headers(self) -> None:
        """Read to the empty line. Nothing is kept, so the call's deadline is limit enough."""
        is_new_line = True
        while piece := self.fp.readline(_LINE_PIECE_BYTES):
            if is_new_line and piece in (b"\r\n", b"\n"):
                return
            is_new_line = piece.endswith(b"\n")  # False in the middle of a very long line


if TYPE_CHECKING:
    _Connection = HTTPConnection
else:
    _Connection = object


class _DeadlineConnection(_Connection):
    response_class = _FinalResponse
    _requests = 0
    _unsent: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        call = CURRENT.get()
        return connect(
            self._dns_host,
            self.port,
            timeout_s=min(call.connect_timeout_s, call.seconds_left()),
            options=cast("Any", self.socket_options) or (),
        )

    def connect(self) -> None:
        super().connect()
        self.sock = cast("socket.socket", DeadlineSocket(self.sock))
        self._requests = 0

    @property
    def is_connected(self) -> bool:
        """Return False for a connection that was idle too long; the pool then makes a new one.

        A firewall may have dropped an idle connection silently: the request would vanish.
        """
        if not super().is_connected:
            return False
        idle_s = time.monotonic() - cast("DeadlineSocket", self.sock).last_used_at
        return idle_s < CURRENT.get().max_idle_s

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request in one piece, headers and body: half of one cancels nothing.

        What was sent ahead is not sent again; what it met then is raised now.
        """
        call = CURRENT.get()
        ahead, call.ahead = call.ahead, None
        if ahead and ahead.connection is self:
            if ahead.failure:
                raise ahead.failure
            return
        if call.sending:  # sending ahead has failed in the middle: one call sends once
            raise ConnectionError("the connection over which the request was sent is lost")
        call.reused = self.sock is not None and self._requests > 0
        self._unsent = []
        try:
            super().request(*args, **kwargs)
            whole, self._unsent = b"".join(self._unsent), None
            self.send(whole)
        finally:
            self._unsent = None
            self._requests += 1  # afterwards: the first request connects, which resets the count

    def request_ahead(self, *args: Any, **kwargs: Any) -> SentAhead:
        """Send the request now, for a call that goes on later, perhaps in another thread."""
        failure = None
        try:
            self.request(*args, **kwargs)
        except OSError as error:
            failure = error
        return SentAhead(connection=self, failure=failure)

    def send(self, data: Any) -> None:
        if self._unsent is None:
            super().send(data)
        else:
            self._unsent.append(data)

    def getresponse(self) -> Any:
        CURRENT.get().before_reading()
        if self.sock is None:  # sending has failed, which urllib3 passes over
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return super().getresponse()


class _PlainConnection(_DeadlineConnection, HTTPConnection):
    pass


class _TlsConnection(_DeadlineConnection, HTTPSConnection):
    pass


if TYPE_CHECKING:
    _Pool = HTTPConnectionPool
else:
    _Pool = object


class _DeadlinePool(_Pool):
    may_open_ahead = False
    _lost_s = 0.0
    _far_until = 0.0

    def take_open(self) -> _DeadlineConnection | None:
        """Return an idle connection that is open, or that a host so near opens at once; or None."""
        connection = cast("_DeadlineConnection", self._get_conn())
        is_ready = (
            self._has_opened_at_once(connection)
            if connection.is_closed
            # To a server that reads nothing, sending could wait.
            else wait_for_write(cast("Any", connection.sock), timeout=0.0)
        )
        if not is_ready:
            self._put_conn(connection)
            return None
        return connection

    def _has_opened_at_once(self, connection: _DeadlineConnection) -> bool:
        """Open a connection to a host that was near so far; the call's time to connect is short."""
        started_at = time.monotonic()
        if not self.may_open_ahead or started_at < self._far_until:
            return False
        try:
            connection.connect()
        except OSError:
            self._far_until = time.monotonic() + _UNREACHABLE_FOR_S
            return False
        self._lost_s += max(time.monotonic() - started_at - _NEAR_S, 0.0)
        if self._lost_s > _MAX_LOST_S:
            self._lost_s, self._far_until = 0.0, time.monotonic() + _REST_OF_A_PRESS_S
        return True

    def _put_conn(self, conn: Any) -> None:
        """Keep an open connection. A closed one on top would hide those that are open below it."""
        if conn is None or conn.is_closed:
            return
        replaced: Any = None  # so that their number does not grow
        if CURRENT.get().needs_new_connection and self.pool:
            with suppress(queue.Empty):
                replaced = self.pool.get(block=False)
        super()._put_conn(conn)
        if replaced:
            replaced.close()

    def _get_conn(self, timeout: float | None = None) -> Any:
        call = CURRENT.get()
        if call.needs_new_connection:
            # Those that are open stay: they may be the last ones over which a cancel can be sent.
            return self._new_conn()
        return call.ahead.connection if call.ahead else super()._get_conn(timeout)


class PlainPool(_DeadlinePool, HTTPConnectionPool):
    ConnectionCls = _PlainConnection
    may_open_ahead = True  # without TLS, whose handshake takes milliseconds


class TlsPool(_DeadlinePool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
