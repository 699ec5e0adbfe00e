"""A cancel in the browser's way while hundreds of slow clients hold the web server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import wait_for
from tests.gate.clients import held, is_unanswered, post
from tests.supervision.system_process import System, fields

MANY = 300


@pytest.fixture
def console(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path, only="web")
    system.prepare()
    with system:
        wait_for(system.serves, seconds=120)
        yield system


@pytest.mark.timeout(300)
def test_a_cancel_is_recorded_while_hundreds_of_forms_never_end(console: System) -> None:
    url = f"http://127.0.0.1:{console.port}"
    lines = (console.home / "demo-people.txt").read_text().splitlines()
    person = {"login": "olga", "password": dict(line.split() for line in lines)["olga"]}
    with requests.Session() as session:
        sign_in = f"{url}/accounts/login/"
        session.post(sign_in, data=fields(session, sign_in) | person, timeout=60)
        form = fields(session, f"{url}/cancel-all/")
        with held(int(console.port), post("/accounts/login/", b"a", length=9), count=MANY) as slow:
            answer = session.post(
                f"{url}/cancel-all/", data=form, timeout=60, allow_redirects=False
            )
            assert (answer.status_code, answer.headers["Location"][:9]) == (303, "/batches/")
            # Each of them ends with the sentence of its refusal.
            wait_for(lambda: not any(is_unanswered(client) for client in slow), seconds=60)
            assert {client.recv(12) for client in slow} == {b"HTTP/1.1 408"}
    assert "REQUESTED" in {kind for kind, _ in console.events()}
