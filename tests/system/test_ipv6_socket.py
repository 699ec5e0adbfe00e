"""With HOST=:: one socket serves IPv4 and IPv6; each IPv4 address has sign-in limits of its own."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.conftest import wait_for
from tests.supervision.system_process import System


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture
def console(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path, only="web")
    system.environment["HOST"] = "::"
    system.prepare()
    with system:
        wait_for(system.serves, seconds=120)
        yield system


def sign_in(port: str, *, password: str, source: str) -> int:
    """Send the sign-in form from this address of the machine, and return the status."""
    host = "::1" if source == "::1" else "127.0.0.1"
    with closing(
        http.client.HTTPConnection(host, int(port), timeout=30, source_address=(source, 0))
    ) as connection:
        connection.request("GET", "/accounts/login/")
        answer = connection.getresponse()
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.read().decode())
        assert token
        fields = {"csrfmiddlewaretoken": token[1], "login": "olga", "password": password}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
        connection.request("POST", "/accounts/login/", urlencode(fields), headers)
        return connection.getresponse().status


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.timeout(300)
def test_ten_wrong_passwords_from_one_host_lock_out_that_host_only(console: System) -> None:
    lines = (console.home / "demo-people.txt").read_text().splitlines()
    password = dict(line.split() for line in lines)["olga"]
    attacker = "127.0.0.66"
    answers = [sign_in(console.port, password="wrong", source=attacker) for _ in range(10)]
    assert answers == [200] * 10
    assert sign_in(console.port, password=password, source=attacker) == 429
    for colleague in ("127.0.0.1", "::1"):
        assert sign_in(console.port, password=password, source=colleague) == 302
    addresses = [
        json.loads(data)["address"]
        for kind, data in console.events()
        if kind in {"SIGN_IN_FAILED", "SIGNED_IN"}
    ]
    assert set(addresses) == {attacker, "127.0.0.1", "::1"}
