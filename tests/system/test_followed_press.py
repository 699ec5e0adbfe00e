"""One cancel can be followed from the browser to the EMS, by IDs in the logs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import wait_for
from tests.simulator.remote import SimulatorRemote
from tests.supervision.system_process import System, fields

GIVEN = "browser-or-proxy-1"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path) as system:
        system.wait_until_it_serves()
        yield system


def test_a_cancel_is_followed_from_the_browser_to_the_ems(system: System) -> None:
    url = f"http://127.0.0.1:{system.port}"
    people = (system.home / "demo-people.txt").read_text().splitlines()
    person = {"login": "olga", "password": dict(line.split() for line in people)["olga"]}
    with requests.Session() as session:
        sign_in = f"{url}/accounts/login/"
        session.post(sign_in, data=fields(session, sign_in) | person, timeout=60)
        console = session.get(url, timeout=60).text
        pks = re.findall(r"/exchanges/(\d+)/cancel-all/", console)
        cancel = f"{url}/exchanges/{pks[0]}/cancel-all/"
        form = fields(session, cancel)
        headers = {"X-Request-ID": GIVEN}
        answer = session.post(cancel, data=form, headers=headers, timeout=60, allow_redirects=False)
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (303, GIVEN)
    wait_for(lambda: "event=finished" in system.output(), seconds=60)
    lines = system.output().splitlines()
    of_http = [line for line in lines if f"http_request={GIVEN}" in line]
    (recorded,) = (line for line in of_http if "event=cancel_recorded" in line)
    (served,) = (line for line in of_http if "event=request_served" in line)
    assert "user=olga" in served
    assert answer.headers["Location"].split("/")[2] in recorded  # the batch
    (uuid,) = re.findall(r"requests=\"?\['([0-9a-f-]{36})'\]", recorded)
    assert any(f"request={uuid}" in line and "event=attempt" in line for line in lines)
    assert any(f"request={uuid}" in line and "event=finished" in line for line in lines)
    (call,) = SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}").calls()
    assert call.headers["x-request-id"] == uuid
