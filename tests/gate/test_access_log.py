"""Each request has an ID, and each one that matters a line in the log."""

import asyncio
import json
import re
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from killswitch.gate import access_log
from killswitch.gate.application import Gate
from killswitch.gate.wsgi_bridge import Environ
from killswitch.runtime.background_log import BACKGROUND_LOG
from killswitch.runtime.http import CLIENT_KEY, USER_KEY

GIVEN = "proxy-id.0123_a"


@pytest.fixture
def captured() -> Any:
    """Return what was logged, with what the thread had bound."""
    capture = LogCapture()
    configured = structlog.get_config()["processors"]
    old = list(configured)
    configured[:] = [structlog.contextvars.merge_contextvars, capture]
    yield capture.entries
    configured[:] = old


def serve(
    method: str = "POST",
    path: str = "/cancel-all/",
    *,
    given: str = "",
    status: str = "303 See Other",
    fails: bool = False,
    body_length: int = 0,
    client: tuple[str, int] | None = ("127.0.0.1", 9),
) -> dict[str, Any]:
    """Send one request through the gate; return the head of the answer and its body."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        structlog.get_logger("view").info("in_view")
        environ[USER_KEY], environ[CLIENT_KEY] = "olga", "192.0.2.7"
        if fails:
            raise RuntimeError
        start_response(status, [("X-Other", "1")])
        return [b"done"]

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"secret=1",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": client,
        "headers": [
            *([(b"x-request-id", given.encode("utf-8"))] if given else []),
            *([(b"content-length", str(body_length).encode())] if body_length else []),
        ],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Gate(application, body_timeout_s=0.05)(scope, receive, send))
    BACKGROUND_LOG.flush()
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return {"status": sent[0]["status"], "headers": headers, "body": sent[1]["body"].decode()}


def lines(entries: list[Any], event: str = "request_served") -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["event"] == event]


def test_the_id_of_a_proxy_is_in_the_answer_and_in_every_line_of_the_request(
    captured: list[Any],
) -> None:
    answer = serve(given=GIVEN)
    assert answer["headers"] == {"X-Other": "1", "x-request-id": GIVEN}
    assert [entry["http_request"] for entry in captured] == [GIVEN, GIVEN]
    (line,) = lines(captured)
    line.pop("ms")
    assert line == {
        "event": "request_served",
        "log_level": "info",
        "http_request": GIVEN,
        "method": "POST",
        "path": "/cancel-all/",
        "status": 303,
        "user": "olga",
        "client": "192.0.2.7",
    }


@pytest.mark.parametrize(
    "given", ["", "short", "a" * 65, "-12345678", "1234 5678", "12345678=\n", "ümlaut-1234"]
)
def test_an_id_that_could_be_mistaken_for_something_else_is_replaced(given: str) -> None:
    made = serve(given=given)["headers"]["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)


def test_the_ids_of_two_requests_differ_and_nothing_stays_bound(captured: list[Any]) -> None:
    assert serve()["headers"]["x-request-id"] != serve()["headers"]["x-request-id"]
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize(
    ("request_of", "is_logged"),
    [
        ({"method": "POST", "path": "/poll/"}, True),
        ({"method": "DELETE", "path": "/nowhere/"}, True),
        ({"method": "GET", "path": "/audit/export.csv", "status": "200 OK"}, True),
        ({"method": "GET", "path": "/", "status": "500 Internal Server Error"}, True),
        ({"method": "POST", "path": "/", "status": "503 Service Unavailable"}, True),
        ({"method": "GET", "path": "/poll/", "status": "503 Service Unavailable"}, False),
        ({"method": "GET", "path": "/", "status": "200 OK"}, False),
        ({"method": "GET", "path": "/poll/", "status": "204 No Content"}, False),
        ({"method": "HEAD", "path": "/audit/", "status": "403 Forbidden"}, False),
        ({"method": "OPTIONS", "path": "/", "status": "405 Method Not Allowed"}, False),
    ],
)
def test_what_matters_has_a_line(
    captured: list[Any], request_of: dict[str, Any], is_logged: bool
) -> None:
    serve(**request_of)
    assert len(lines(captured)) == is_logged


def test_a_slow_answer_has_a_line(captured: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "SLOW_S", 0.0)
    serve("GET", "/", status="200 OK")
    assert len(lines(captured)) == 1


def test_a_failure_names_its_id_to_the_person_and_in_the_log(captured: list[Any]) -> None:
    answer = serve(given=GIVEN, fails=True)
    assert answer["status"] == 500
    assert GIVEN in answer["body"]
    assert answer["headers"]["x-request-id"] == GIVEN
    assert lines(captured, "request_not_served")[0]["http_request"] == GIVEN
    assert lines(captured)[0]["status"] == 500


def test_a_form_that_never_ends_has_a_line(captured: list[Any]) -> None:
    assert serve(body_length=9)["status"] == 408
    (line,) = lines(captured)
    assert (line["status"], line["user"], line["client"]) == (408, "", "127.0.0.1")
    assert "secret" not in json.dumps(line)


def test_a_client_without_an_address_is_served(captured: list[Any]) -> None:
    assert serve(client=None)["status"] == 303
    assert lines(captured)[0]["client"] == "192.0.2.7"
