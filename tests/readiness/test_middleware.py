"""The addresses for machines respond on a real web server, whatever a probe sends as its Host."""

import socket
import sys
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from killswitch.readiness.middleware import MACHINE_PATHS
from tests.conftest import wait_for
from tests.stack import Stack
from tests.supervision.system_process import free_ports

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

HOSTS = [
    *("127.0.0.1", "10.1.2.3", "10.1.2.3:8000", "[::1]", "[fe80::1]:8000", "[fe80::1%25eth0]"),
    *("elsewhere.example", "elsewhere.example:8000", "_", "*", "a b", "[", "x:y:z", "<script>"),
    *("", "console.example", "console.example:99999", "CONSOLE.EXAMPLE", "h\u00f6st", "-" * 500),
]


@pytest.fixture
def port(stack: Stack) -> int:
    """Start the product's web server, for one name behind one proxy."""
    port = int(free_ports(1)[0])
    stack.set(PORT=port, ALLOWED_HOSTS="console.example", TRUSTED_PROXY_COUNT=1)
    arguments = ("--interface", "asginl", "--http", "1", "--workers", "1", "--port", port)
    stack.run(sys.executable, "-m", "granian", *map(str, arguments), "killswitch.asgi:application")
    wait_for(
        lambda: "200" in status(port, b"GET /healthz HTTP/1.1\r\nHost: console.example"), seconds=60
    )
    return port


def exchange(port: int, head: bytes) -> bytes:
    """Send the head of a request and return the whole answer; empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(head + b"\r\nConnection: close\r\n\r\n")
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer
    except OSError:
        return b""


def status(port: int, head: bytes) -> str:
    return exchange(port, head).partition(b"\r\n")[0].decode()


def test_every_host_and_none_on_a_real_server(port: int) -> None:
    heads = {f"Host: {host}": f"HTTP/1.1\r\nHost: {host}" for host in HOSTS}
    heads |= {f"1.0, {name}": head.replace("1.1", "1.0", 1) for name, head in heads.items()}
    heads |= {
        "none": "HTTP/1.1",
        "1.0, none": "HTTP/1.0",
        "two": "HTTP/1.1\r\nHost: a.example\r\nHost: b.example",
        "TLS": "HTTP/1.1\r\nHost: _\r\nX-Forwarded-Proto: https",
        "another name": "HTTP/1.1\r\nHost: _\r\nX-Forwarded-Host: _",
    }
    for name, head in heads.items():
        for method in ("GET", "HEAD"):
            line = f"{method} /healthz {head}".encode()
            answer = exchange(port, line)
            assert answer.split(b" ")[1:2] == [b"200"], (name, method, answer[:200])
            assert answer.endswith(b"ok\n" if method == "GET" else b"\r\n\r\n"), (name, method)
    for path, expected in (("/readyz", "503"), ("/metrics", "200")):
        for head in heads.values():
            assert expected in status(port, f"GET {path} {head}".encode()), (path, head)
    absolute = b"GET http://10.1.2.3/healthz HTTP/1.1\r\nHost: 10.1.2.3"
    assert exchange(port, absolute).endswith(b"ok\n")
    # Pages for people check it.
    assert "400" in status(port, b"GET / HTTP/1.1\r\nHost: elsewhere.example")
    assert "302" in status(port, b"GET / HTTP/1.1\r\nHost: console.example")


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_where_tls_is_required_a_probe_is_not_redirected(path: str, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["console.example"]
    assert Client().get(path, headers={"host": "10.1.2.3"}).status_code in {200, 503}
    assert Client().get("/requests/", headers={"host": "console.example"}).status_code == 301


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_a_machine_reads_only(path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["console.example"]
    assert Client().post(path, headers={"host": "_"}).status_code == 400
    assert Client().get(f"{path}/", headers={"host": "_"}).status_code == 400


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_the_answer_to_a_machine_does_not_depend_on_the_host(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_host(_request: HttpRequest) -> str:
        raise AssertionError("the host was read")

    monkeypatch.setattr(HttpRequest, "get_host", get_host)
    answer = Client().get(path)
    assert answer.status_code in {200, 503}
    assert "Location" not in answer.headers
