"""HTTP/1.1 on one socket: requests are read, and answers sent whole, late, dripped or broken.

Not `http.server`: it answers some requests by itself, ends every connection with a FIN where a
fault has to reset it, and takes a head that was cut short for a whole request.
"""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

_MAX_HEAD_BYTES = 64 * 1024
_MAX_BODY_BYTES = 4 * 1024 * 1024
_BLOCK_BYTES = 64 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter; None when it is missing."""
        values = parse_qs(self.query, keep_blank_values=True).get(name)
        return values[0] if values else None

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one when it is anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def keep_alive(self) -> bool:
        return self.headers.get("connection", "").lower() != "close"


class DeliveryMode(StrEnum):
    """How an answer is sent."""

    WHOLE = "WHOLE"
    SILENT = "SILENT"
    DRIP = "DRIP"
    HALF_BODY = "HALF_BODY"
    ENDLESS = "ENDLESS"
    CLOSE = "CLOSE"
    RESET = "RESET"
    RESET_MID_ANSWER = "RESET_MID_ANSWER"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How the bytes are sent: when, and what breaks."""

    mode: DeliveryMode = DeliveryMode.WHOLE
    delay_s: float = 0.0
    dripped_part: str = "body"
    interval_s: float = 1.0

    @property
    def is_complete(self) -> bool:
        """Return whether all of the answer is sent, at once or byte by byte."""
        return self.mode in {DeliveryMode.WHOLE, DeliveryMode.DRIP}


ORDINARY = Delivery()


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """One answer, and how to deliver it."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    delivery: Delivery = ORDINARY

    @property
    def status_line(self) -> bytes:
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Exchange Unreachable" if self.status == 490 else "Unknown"
        return f"HTTP/1.1 {self.status} {phrase}\r\n".encode()

    @property
    def headers_block(self) -> bytes:
        lines = [("Content-Type", self.content_type), *self.headers]
        if self.delivery.mode is DeliveryMode.ENDLESS:
            lines.append(("Transfer-Encoding", "chunked"))
        else:
            lines.append(("Content-Length", str(len(self.body))))
        return "".join(f"{name}: {value}\r\n" for name, value in lines).encode() + b"\r\n"


class Connection:
    """One client's connection. `abort` may be called from another thread at any time.

    A `deaf` connection reads on and never answers again.
    """

    def __init__(self, sock: socket.socket, *, stopping: threading.Event) -> None:
        self.deaf = False
        self._socket = sock
        self._stopping = stopping
        self._file = sock.makefile("rb")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_request(self) -> Request | None:
        """Return the next request; None when the client has closed.

        Raises OSError, and ValueError for bytes that are not a request which this server reads.
        """
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if len(head) > _MAX_HEAD_BYTES:
                raise ValueError("the head of the request is too long")
            line = self._file.readline(_MAX_HEAD_BYTES)
            if not line:
                return None
            head += line
        request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        words = request_line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise ValueError("the first line is not an HTTP/1.1 request line")
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        url = urlsplit(words[1])
        return Request(
            method=words[0],
            path=url.path,
            query=url.query,
            headers=headers,
            body=self._read_body(headers),
        )

    def send(self, answer: Outgoing) -> bool:
        """Deliver the answer as its `delivery` says. Return True if the connection stays open."""
        delivery = answer.delivery
        if self._stopping.wait(delivery.delay_s):
            return False
        match delivery.mode:
            case DeliveryMode.WHOLE:
                self._socket.sendall(answer.status_line + answer.headers_block + answer.body)
                return True
            case DeliveryMode.DRIP:
                return self._drip(answer)
            case DeliveryMode.SILENT:
                self.swallow()
            case DeliveryMode.ENDLESS:
                self._socket.sendall(answer.status_line + answer.headers_block)
                chunk = f"{_BLOCK_BYTES:x}\r\n".encode() + b" " * _BLOCK_BYTES + b"\r\n"
                while not self._stopping.is_set():
                    self._socket.sendall(chunk)
            case DeliveryMode.HALF_BODY | DeliveryMode.RESET_MID_ANSWER:
                half = answer.body[: len(answer.body) // 2]
                self._socket.sendall(answer.status_line + answer.headers_block + half)
        if delivery.mode in {DeliveryMode.RESET, DeliveryMode.RESET_MID_ANSWER}:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        return False

    def swallow(self) -> None:
        """Read and discard until the client closes or the server stops."""
        while self._file.read1(_BLOCK_BYTES):
            pass

    def abort(self) -> None:
        """Wake the thread that waits on this connection; it then finds it closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isascii() or not length.isdigit():
            raise ValueError("a body needs a Content-Length")
        if len(length) > len(str(_MAX_BODY_BYTES)) or int(length) > _MAX_BODY_BYTES:
            raise ValueError("the body of the request is too long")
        body = self._file.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client left in the middle of a request")
        return body

    def _drip(self, answer: Outgoing) -> bool:
        parts = {
            "status": answer.status_line,
            "headers": answer.headers_block,
            "body": answer.body,
        }
        for name, part in parts.items():
            if name != answer.delivery.dripped_part:
                self._socket.sendall(part)
                continue
            for value in part:
                self._socket.sendall(bytes((value,)))
                if self._stopping.wait(answer.delivery.interval_s):
                    return False
        return True
