"""Scripted servers on real sockets, which behave like an EMS or like something broken."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

ACKNOWLEDGED = b'{"type":"message","severity":"INFO","exchange_id":"KRAKEN","message":"Ok"}'


class Connection:
    """One accepted connection, driven by a script."""

    def __init__(self, sock: socket.socket, *, server: "Server") -> None:
        self.sock = sock
        self.server = server

    def read_request(self) -> bytes:
        """Return head and body; b"" when the client closed."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            if not piece:
                return b""
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        while len(body) < _content_length(head):
            body += self.sock.recv(65536)
        request = head + b"\r\n\r\n" + body
        self.server.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def drip(self, data: bytes) -> None:
        """Send byte by byte, slower than any deadline of these tests."""
        for byte in data:
            self.send(bytes([byte]))
            if self.server.stop.wait(0.05):
                return

    def stay_silent(self) -> None:
        self.server.stop.wait(20)

    def reset(self) -> None:
        """Close with RST instead of FIN, which closing without lingering sends."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Connection], None]


class Server:
    """Accept on 127.0.0.1 and run the script on each connection, in a thread of its own."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.accepted = 0
        self.stop = threading.Event()
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._open.add(sock)
            self._script(Connection(sock, server=self))
        self._open.discard(sock)
        sock.close()


@contextlib.contextmanager
def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(script, tls=tls)
    try:
        yield server
    finally:
        server.close()


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(data: bytes) -> Script:
    """Return a script that answers every request of a connection with these bytes."""

    def script(connection: Connection) -> None:
        while connection.read_request():
            connection.send(data)

    return script


def answering_once(data: bytes) -> Script:
    """Return a script that answers one request with these bytes, and closes."""

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(data)

    return script


def never_answering(connection: Connection) -> None:
    connection.read_request()
    connection.stay_silent()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
