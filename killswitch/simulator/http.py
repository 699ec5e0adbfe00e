"""HTTP/1.1 on one socket: reads requests, and sends answers whole, late, dripped or broken."""

import contextlib
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from killswitch.simulator.scenarios import ORDINARY, Delivery, DeliveryMode

_LONGEST_HEAD = 64 * 1024
_LONGEST_BODY = 4 * 1024 * 1024
_BLOCK = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class BadRequest(ValueError):
    """Bytes that are no request this server reads; it answers 400 and closes."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter; None when there is none."""
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return values[0] if values else None

    @property
    def keeps_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One answer, and how it is to be delivered."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    delivery: Delivery = ORDINARY

    @property
    def status_line(self) -> bytes:
        return f"HTTP/1.1 {self.status} {_phrase(self.status)}\r\n".encode()

    @property
    def head_fields(self) -> bytes:
        lines = [("Content-Type", self.content_type), *self.headers]
        if self.delivery.manner is DeliveryMode.ENDLESS:
            lines.append(("Transfer-Encoding", "chunked"))
        else:
            lines.append(("Content-Length", str(len(self.body))))
        return "".join(f"{name}: {value}\r\n" for name, value in lines).encode() + b"\r\n"


class Connection:
    """One client's connection. `abort` may be called from another thread at any time."""

    def __init__(self, sock: socket.socket, *, stopping: threading.Event) -> None:
        self.deaf = False
        self._socket = sock
        self._stopping = stopping
        self._unread = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_request(self) -> Request | None:
        """The next request; None when the client has closed. Raises BadRequest or OSError."""
        head = self._read_head()
        if head is None:
            return None
        method, target, headers = _parsed_head(head)
        url = urlsplit(target)
        body = self._read_body(headers)
        return Request(method=method, path=url.path, query=url.query, headers=headers, body=body)

    def send(self, answer: Outgoing) -> bool:
        """Deliver the answer as planned; whether the connection lives on."""
        delivery = answer.delivery
        if self._stopping.wait(delivery.delay):
            return False
        match delivery.manner:
            case DeliveryMode.WHOLE:
                self._socket.sendall(answer.status_line + answer.head_fields + answer.body)
                return True
            case DeliveryMode.DRIP:
                return self._drip(answer)
            case DeliveryMode.SILENT:
                self.swallow()
            case DeliveryMode.ENDLESS:
                self._send_without_end(answer)
            case DeliveryMode.HALF_BODY | DeliveryMode.RESET_MID_ANSWER:
                half = answer.body[: len(answer.body) // 2]
                self._socket.sendall(answer.status_line + answer.head_fields + half)
        if delivery.manner in {DeliveryMode.RESET, DeliveryMode.RESET_MID_ANSWER}:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return False

    def swallow(self) -> None:
        """Say nothing until the client goes or the server stops."""
        while self._socket.recv(_BLOCK):
            pass

    def abort(self) -> None:
        """Wake whoever waits on this connection; it then finds it closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _read_head(self) -> bytes | None:
        while b"\r\n\r\n" not in self._unread:
            if len(self._unread) > _LONGEST_HEAD:
                raise BadRequest("the head of the request is too long")
            received = self._socket.recv(_BLOCK)
            if not received:
                return None
            self._unread += received
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isascii() or not length.isdigit():
            raise BadRequest("a body needs a Content-Length")
        if len(length) > len(str(_LONGEST_BODY)) or int(length) > _LONGEST_BODY:
            raise BadRequest("the body of the request is too long")
        while len(self._unread) < int(length):
            received = self._socket.recv(_BLOCK)
            if not received:
                raise ConnectionError("the client left in mid request")
            self._unread += received
        body, self._unread = self._unread[: int(length)], self._unread[int(length) :]
        return body

    def _drip(self, answer: Outgoing) -> bool:
        parts = {
            "status": answer.status_line,
            "headers": answer.head_fields,
            "body": answer.body,
        }
        for name, part in parts.items():
            if name != answer.delivery.dripped_part:
                self._socket.sendall(part)
                continue
            for value in part:
                self._socket.sendall(bytes((value,)))
                if self._stopping.wait(answer.delivery.interval):
                    return False
        return True

    def _send_without_end(self, answer: Outgoing) -> None:
        self._socket.sendall(answer.status_line + answer.head_fields)
        chunk = f"{_BLOCK:x}\r\n".encode() + b" " * _BLOCK + b"\r\n"
        while not self._stopping.is_set():
            self._socket.sendall(chunk)


def _parsed_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    request_line, *lines = head.decode("latin-1").split("\r\n")
    words = request_line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("the first line is no HTTP/1.1 request line")
    fields = (line.partition(":") for line in lines)
    return words[0], words[1], {name.strip().lower(): value.strip() for name, _, value in fields}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Exchange Unreachable" if status == 490 else "Unknown"
