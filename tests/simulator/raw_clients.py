"""Clients of the simulator for these tests, with sockets, to see the bytes on the wire."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Protocol
from urllib.parse import quote, urlsplit


class Addressed(Protocol):
    """Anything with an address: the simulator here, or one in another process."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """All bytes received until the end, and how it ended: closed, reset or silent."""

    data: bytes
    end: str
    pieces: int


def address(simulator: Addressed) -> tuple[str, int]:
    url = urlsplit(simulator.url)
    return str(url.hostname), int(url.port or 80)


def connect(simulator: Addressed, *, timeout: float = 5) -> socket.socket:
    return socket.create_connection(address(simulator), timeout=timeout)


def send_request(
    simulator: Addressed,
    *,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    connection = HTTPConnection(*address(simulator), timeout=10)
    headers = {"Content-Type": "application/json"} | (headers or {})
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request(method, path, body=data, headers=headers)
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=fields, body=response.read())
    finally:
        connection.close()


def cancel_all(
    simulator: Addressed, exchange_id: str, *, headers: dict[str, str] | None = None
) -> Answer:
    return send_request(
        simulator,
        method="POST",
        path="/v1/orders/cancel/all",
        body={"exchange_id": exchange_id},
        headers=headers,
    )


def open_orders(simulator: Addressed, exchange_id: str | None = None) -> Answer:
    query = "" if exchange_id is None else f"?exchange_id={quote(exchange_id, safe='')}"
    return send_request(simulator, method="GET", path=f"/v1/orders{query}")


def cancel_request(exchange_id: str) -> bytes:
    body = json.dumps({"exchange_id": exchange_id}).encode()
    return (
        b"POST /v1/orders/cancel/all HTTP/1.1\r\nHost: simulator\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


def list_request(exchange_id: str) -> bytes:
    target = f"/v1/orders?exchange_id={quote(exchange_id, safe='')}".encode()
    return b"GET " + target + b" HTTP/1.1\r\nHost: simulator\r\n\r\n"


def read_to_end(simulator: Addressed, request: bytes, *, timeout_s: float = 5) -> RawAnswer:
    """Send bytes and read until the other side closes, or has been silent for `timeout_s`."""
    data, pieces = b"", 0
    with connect(simulator, timeout=timeout_s) as sock:
        sock.sendall(request)
        while True:
            try:
                received = sock.recv(65536)
            except TimeoutError:
                return RawAnswer(data=data, end="silent", pieces=pieces)
            except ConnectionError:
                return RawAnswer(data=data, end="reset", pieces=pieces)
            if not received:
                return RawAnswer(data=data, end="closed", pieces=pieces)
            data += received
            pieces += 1


def eventually(condition: Callable[[], object], *, timeout_s: float = 10) -> None:
    """Wait until the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.01)
