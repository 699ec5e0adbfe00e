"""The example for nginx, run by a real nginx in front of the product's own web process."""

import contextlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from killswitch.accounts.models import Role
from killswitch.gate.client import MAX_BODY_BYTES
from tests import factories
from tests.accounts.people import data, events
from tests.conftest import wait_for
from tests.ems.conftest import make_certificate, write_certificate
from tests.stack import Stack
from tests.supervision.system_process import free_ports
from tools.programs import NGINX

EXAMPLE = settings.BASE_DIR / "deploy" / "nginx" / "killswitch.conf"
AROUND = """
daemon off;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.txt info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/killswitch.conf;
}}
"""
# Another address of this machine, which the example does not let read /metrics.
CLIENT = "127.0.0.2"


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A running nginx."""

    port: int
    plain_port: int
    certificate: Path

    def request(
        self,
        method: str,
        path: str,
        *,
        body: str = "",
        headers: dict[str, str] | None = None,
        client: str = CLIENT,
    ) -> tuple[http.client.HTTPResponse, str]:
        """Return the answer and its body."""
        with contextlib.closing(self.connect(client)) as connection:
            connection.request(method, path, body=body or None, headers=headers or {})
            response = connection.getresponse()
            return response, response.read().decode()

    def connect(self, client: str = CLIENT) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.certificate))
        return http.client.HTTPSConnection(
            "localhost", self.port, source_address=(client, 0), context=context, timeout=15
        )


@contextlib.contextmanager
def running_nginx(directory: Path, *, upstreams: Sequence[int]) -> Iterator[Proxy]:
    """Run nginx with the example, changed only in what each machine has to change."""
    program = NGINX.find()
    assert program, "nginx is missing: run `make programs`"
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make_certificate("localhost", key, issuer=None, issuer_key=key)
    pem = write_certificate(directory / "certificate.pem", certificate, key=key)
    port, plain_port = free_ports(2)
    text = EXAMPLE.read_text()
    servers = "".join(f"server 127.0.0.1:{upstream};" for upstream in upstreams)
    for old, new in {
        "server 127.0.0.1:8000;": servers,
        "listen [::]:80;": "",
        "listen [::]:443 ssl;": "",
        "listen 80;": f"listen 127.0.0.1:{plain_port};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "killswitch.example.com": "localhost",
        "/etc/killswitch/tls/fullchain.pem": str(pem),
        "/etc/killswitch/tls/privkey.pem": str(pem),
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (directory / "killswitch.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""  # the directory is for this user only
    (directory / "nginx.conf").write_text(AROUND.format(directory=directory, user=user))
    process = subprocess.Popen([program, "-c", str(directory / "nginx.conf"), "-p", str(directory)])
    proxy = Proxy(port=int(port), plain_port=int(plain_port), certificate=pem)
    try:
        wait_for(lambda: process.poll() is not None or _accepts(proxy.port), seconds=20)
        assert process.poll() is None, (directory / "error.txt").read_text()
        yield proxy
    finally:
        process.terminate()
        process.wait(timeout=10)


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


# --- the product behind it --------------------------------------------------------------------


@pytest.fixture
def proxy(stack: Stack, tmp_path: Path) -> Iterator[Proxy]:
    """Return an nginx in front of the product's web server."""
    port = free_ports(1)[0]
    stack.set(PORT=port, ALLOWED_HOSTS="localhost", TRUSTED_PROXY_COUNT=1)
    arguments = ("--interface", "asginl", "--http", "1", "--workers", "1", "--port", port)
    stack.run(sys.executable, "-m", "granian", *arguments, "killswitch.asgi:application")
    (tmp_path / "nginx").mkdir()
    with running_nginx(tmp_path / "nginx", upstreams=[int(port)]) as proxy:
        wait_for(
            lambda: proxy.request("GET", "/healthz", client="127.0.0.1")[0].status == 200,
            seconds=60,
        )
        yield proxy


@pytest.mark.django_db(transaction=True)
def test_people_sign_in_over_tls_and_the_log_has_their_address(proxy: Proxy, settings: Any) -> None:
    # The product's own processes do not know the hash that is quick for tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    factories.person(Role.RISK_OFFICER)
    origin = f"https://localhost:{proxy.port}"
    page, text = proxy.request("GET", "/accounts/login/")
    assert page.status == 200
    assert page.headers.get_all("Strict-Transport-Security") == ["max-age=31536000"]
    cookies = SimpleCookie()
    for header in page.headers.get_all("Set-Cookie") or []:
        assert header.startswith("__Host-")
        assert "Secure" in header
        cookies.load(header)
    (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', text)[:1]
    form = {"csrfmiddlewaretoken": token, "login": "olga", "password": factories.PASSWORD}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": origin,
        "Referer": f"{origin}/accounts/login/",
        "Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in cookies.items()),
        # What a browser could send to be taken for somebody else.
        "X-Forwarded-For": "198.51.100.7",
        "X_Forwarded_For": "198.51.100.8",
    }
    answer, _ = proxy.request("POST", "/accounts/login/", body=urlencode(form), headers=headers)
    assert answer.status == 302
    assert answer.headers["Location"] == "/"
    (event,) = events("SIGNED_IN")
    assert CLIENT in data(event).values()
    assert "198.51.100" not in event.data

    # What else needs the product.
    for path, status in (("/metrics", 200), ("/readyz", 503), ("/healthz", 200)):
        assert proxy.request("GET", path)[0].status == 403, path
        assert proxy.request("GET", path, client="127.0.0.1")[0].status == status, path
    with contextlib.closing(http.client.HTTPConnection("localhost", proxy.plain_port)) as plain:
        plain.request("GET", "/requests/?day=2026-11-28")
        redirect = plain.getresponse()
        assert redirect.status == 301
        assert redirect.headers["Location"] == "https://localhost/requests/?day=2026-11-28"


# --- something else behind it -----------------------------------------------------------------


class Upstream:
    """A server that keeps the requests it gets, and answers each in a way of its own."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.heads: list[str] = []
        self.release = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the end of the test closes the listener
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = connection.recv(65536).decode()
        self.heads.append(head)
        if head.startswith("POST"):
            return  # no answer at all: it may have been carried out
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
        self.release.wait(60)  # longer than the client waits
        connection.sendall(b"two")


@pytest.fixture
def upstreams() -> Iterator[tuple[Upstream, Upstream]]:
    """Return two servers, of which nginx may try the other one if one does not answer."""
    both = Upstream(), Upstream()
    yield both
    for upstream in both:
        upstream.release.set()
        upstream.listener.shutdown(socket.SHUT_RDWR)
        upstream.listener.close()


@pytest.fixture
def proxy_of_upstreams(upstreams: tuple[Upstream, Upstream], tmp_path: Path) -> Iterator[Proxy]:
    ports = [upstream.port for upstream in upstreams]
    with running_nginx(tmp_path, upstreams=ports) as proxy:
        yield proxy


def test_a_cancel_is_sent_once_and_its_answer_claims_no_more_than_is_known(
    proxy_of_upstreams: Proxy, upstreams: tuple[Upstream, Upstream]
) -> None:
    answer, text = proxy_of_upstreams.request("POST", "/cancel-all/", body="key=1")
    assert answer.status in {502, 503, 504}
    assert "may or may not have been recorded" in text
    assert answer.headers["Cache-Control"] == "no-store"
    assert sum(len(upstream.heads) for upstream in upstreams) == 1


def test_a_body_that_the_product_would_refuse_does_not_reach_it(
    proxy_of_upstreams: Proxy, upstreams: tuple[Upstream, Upstream]
) -> None:
    answer, _ = proxy_of_upstreams.request("POST", "/", body="x" * (MAX_BODY_BYTES + 1))
    assert answer.status == 413
    assert [upstream.heads for upstream in upstreams] == [[], []]


def test_answers_are_passed_on_as_they_are_made(
    proxy_of_upstreams: Proxy, upstreams: tuple[Upstream, Upstream]
) -> None:
    with contextlib.closing(proxy_of_upstreams.connect()) as connection:
        connection.request("GET", "/audit/export.csv")
        response = connection.getresponse()
        assert response.read(3) == b"one"
        for upstream in upstreams:
            upstream.release.set()
        assert response.read() == b"two"


def test_headers_are_passed_on_as_the_product_needs_them(
    proxy_of_upstreams: Proxy, upstreams: tuple[Upstream, Upstream]
) -> None:
    for upstream in upstreams:
        upstream.release.set()
    sent = {"X-Forwarded-For": "198.51.100.7", "X_Forwarded_For": "198.51.100.8"}
    sent |= {"X-Forwarded-Proto": "http", "X-Request-ID": "forged", "Cookie": "a=b"}
    proxy_of_upstreams.request("GET", "/", headers=sent)
    (head,) = [head for upstream in upstreams for head in upstream.heads]
    lines = dict(line.split(": ", 1) for line in head.strip().splitlines()[1:])
    assert re.fullmatch(r"[0-9a-f]{32}", lines.pop("X-Request-ID"))
    assert "X_Forwarded_For" not in lines
    assert lines["Host"] == f"localhost:{proxy_of_upstreams.port}"
    assert lines["X-Forwarded-For"] == f"198.51.100.7, {CLIENT}"
    assert lines["X-Forwarded-Proto"] == "https"
    assert lines["Cookie"] == "a=b"
