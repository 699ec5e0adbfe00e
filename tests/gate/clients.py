"""Bare clients of a web server: many at once, slow ones, and ones that go away."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


def connect(port: int, data: bytes) -> socket.socket:
    """Connect, and send these bytes of a request."""
    client = socket.create_connection(("127.0.0.1", port), timeout=30)
    client.sendall(data)
    return client


@contextmanager
def held(port: int, data: bytes, *, count: int) -> Iterator[list[socket.socket]]:
    """Keep so many connections open, on each of which these bytes were sent."""
    with ExitStack() as connections:
        yield [connections.enter_context(connect(port, data)) for _ in range(count)]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()


def post(path: str, body: bytes, *, length: int | None = None) -> bytes:
    """Return a POST request; one that announces a greater length is not complete."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    return f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body


def is_unanswered(client: socket.socket) -> bool:
    """Return whether the connection is still open and nothing has arrived."""
    client.settimeout(0)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        client.settimeout(30)
    return False


def read(client: socket.socket) -> tuple[int, bytes]:
    """Return status and body of the answer."""
    answer = b""
    while piece := client.recv(65_536):
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


def ask(port: int, data: bytes) -> tuple[int, bytes]:
    """Send a request, and return status and body of the answer."""
    with connect(port, data) as client:
        return read(client)
