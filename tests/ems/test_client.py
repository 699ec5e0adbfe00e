"""The request as it leaves for the EMS, to the byte, and the answer that the caller gets."""

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.client import EmsClient, forget_client, get_client
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import (
    ACKNOWLEDGED,
    Connection,
    answering,
    answering_once,
    response,
    serving,
)

KEY = "0123456789-secret-key"

ODD_IDS = [
    "KRAKEN/JOHN",
    "BITSTAMP/2574",
    "A~/.,:;\\!@#$%^&*-_+=B",
    "A&exchange_id=B",
    "A?#%2F%",
    "../../v1",
    "Ü 1\x00",
    "\ud800",
    "",
]


def head_of(request: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert len(headers) == len(lines)
    return first, headers


def test_a_cancel_is_exactly_one_post_with_exactly_one_field(client_for: ClientFactory) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        answer = client_for(server.url, api_key=KEY).cancel_all("KRAKEN")
        assert answer.outcome is Outcome.ACKNOWLEDGED
    (request,) = server.requests
    first, headers = head_of(request)
    assert first == "POST /v1/orders/cancel/all HTTP/1.1"
    assert request.partition(b"\r\n\r\n")[2] == b'{"exchange_id": "KRAKEN"}'
    assert headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Content-Type": "application/json",
        "Content-Length": "25",
        "User-Agent": "killswitch",
        "X-CoinAPI-Key": KEY,
    }


def test_without_a_key_there_is_no_key_header(client_for: ClientFactory) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        client_for(server.url).cancel_all("KRAKEN")
    assert "X-CoinAPI-Key" not in head_of(server.requests[0])[1]


def test_the_answer_has_the_times_of_its_call(client_for: ClientFactory) -> None:
    def slowly(connection: Connection) -> None:
        connection.read_request()
        connection.server.stop.wait(0.1)
        connection.send(response(200, ACKNOWLEDGED))

    before = datetime.now(UTC)
    with serving(slowly) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert before <= answer.started_at < answer.finished_at <= datetime.now(UTC)
    assert 100 <= answer.duration_ms < 2000
    assert (answer.http_status, answer.body, answer.message) == (200, ACKNOWLEDGED, "Ok")
    assert (answer.transport_error, answer.body_complete) == ("", True)


@pytest.mark.parametrize("exchange_id", ODD_IDS)
def test_an_exchange_id_is_opaque_in_body_and_query(
    exchange_id: str, client_for: ClientFactory
) -> None:
    with serving(answering(response(200, b"[]"))) as server:
        client = client_for(server.url)
        client.cancel_all(exchange_id)
        assert client.open_orders(exchange_id).readable
    post, get = server.requests
    assert json.loads(post.partition(b"\r\n\r\n")[2]) == {"exchange_id": exchange_id}
    target = urlsplit(head_of(get)[0].split(" ")[1])
    assert target.path == "/v1/orders"
    query = parse_qs(target.query, keep_blank_values=True, strict_parsing=True)
    assert query == {"exchange_id": [exchange_id.replace("\ud800", "\\ud800")]}


def test_all_open_orders_are_requested_without_a_query(client_for: ClientFactory) -> None:
    rows = b'[{"exchange_id":"A","status":"NEW"},{"exchange_id":"B","status":"NEW"}]'
    with serving(answering(response(200, rows))) as server:
        orders = client_for(server.url, api_key=KEY).open_orders()
    first, headers = head_of(server.requests[0])
    assert first == "GET /v1/orders HTTP/1.1"
    assert headers["X-CoinAPI-Key"] == KEY
    assert "Content-Length" not in headers
    assert (orders.readable, dict(orders.counts)) == (True, {"A": 1, "B": 1})
    assert orders.started_at < orders.finished_at
    assert orders.duration_ms > 0


@pytest.mark.parametrize("header", ["Age: 30", 'Link: <https://ems.example/?page=2>; rel="next"'])
def test_an_old_or_a_first_page_of_a_list_proves_no_emptiness(
    header: str, client_for: ClientFactory
) -> None:
    with serving(answering(response(200, b"[]", header))) as server:
        client = client_for(server.url)
        assert not client.open_orders("KRAKEN").readable
        assert not client.open_orders().readable
    headers = head_of(server.requests[0])[1]
    assert (headers["Cache-Control"], headers["Pragma"]) == ("no-cache, no-store", "no-cache")
    orders = b'[{"exchange_id":"KRAKEN","status":"NEW"}]'
    with serving(answering(response(200, orders, header))) as server:
        assert client_for(server.url).open_orders("KRAKEN").count("KRAKEN") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"X-Gateway : edge-1",
        b"no colon at all",
        "X-Gr\u00f6\u00dfe: 5".encode(),
        b"X-Total-Count : 120",
        b"Content-Length: x",
        b"Content-Length: -1",
    ],
)
def test_an_answer_whose_headers_cannot_be_read_proves_nothing(
    line: bytes, client_for: ClientFactory
) -> None:
    """The parser stops there: the length of the body, or the sign of a page, may be lost."""

    def head(length: int) -> bytes:
        known = b"" if line.startswith(b"Content-Length") else b"Content-Length: %d\r\n" % length
        return b"HTTP/1.1 200 OK\r\n" + known + line + b"\r\nX-Total-Count: 120\r\n\r\n"

    with serving(answering_once(head(2) + b"[]")) as server:
        orders = client_for(server.url).open_orders("KRAKEN")
        assert (orders.readable, orders.is_from_ems) == (False, False)
        assert "cannot be read" in orders.error
    with serving(answering_once(head(len(ACKNOWLEDGED)) + ACKNOWLEDGED)) as server:
        assert client_for(server.url).cancel_all("KRAKEN").outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("path", ["", "/", "/ems", "/ems/", "/a/b//"])
def test_the_base_url_may_have_a_path_and_a_trailing_slash(
    path: str, client_for: ClientFactory
) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        client_for(server.url + path).cancel_all("KRAKEN")
    assert head_of(server.requests[0])[0].split(" ")[1] == (
        f"{path.rstrip('/')}/v1/orders/cancel/all"
    )


def test_each_of_many_threads_gets_the_answer_to_its_own_call(
    client_for: ClientFactory,
) -> None:
    def echo(connection: Connection) -> None:
        while request := connection.read_request():
            exchange_id = json.loads(request.partition(b"\r\n\r\n")[2])["exchange_id"]
            body = {"type": "message", "exchange_id": exchange_id, "message": exchange_id}
            connection.send(response(200, json.dumps(body).encode()))

    with serving(echo) as server:
        client = client_for(server.url, connect_timeout=5, timeout=10)
        barrier = threading.Barrier(200)

        def call(number: int) -> list[str]:
            barrier.wait(10)
            return [client.cancel_all(f"X/{number}/{turn}").message for turn in range(3)]

        with ThreadPoolExecutor(200) as threads:
            answers = list(threads.map(call, range(200)))
    assert answers == [[f"X/{number}/{turn}" for turn in range(3)] for number in range(200)]
    assert len(server.requests) == 600


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 490, 500, 503, 504])
def test_a_refusal_is_an_answer_and_is_not_retried_by_the_client(
    status: int, client_for: ClientFactory
) -> None:
    with serving(answering(response(status, b'{"error":"no"}', "Retry-After: 1"))) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert (answer.http_status, answer.message) == (status, "no")
    assert answer.retry_after == (1.0 if status == 429 else None)
    assert len(server.requests) == 1


@pytest.fixture
def deployment(settings: Any) -> Iterator[Any]:
    """Settings of a deployment, for a client that no other test has made."""
    settings.EMS_API_KEY, settings.EMS_CLIENT_CERT, settings.EMS_CA_BUNDLE = KEY, "", ""
    settings.EMS_CONNECT_TIMEOUT, settings.EMS_TIMEOUT = 1.0, 2.0
    forget_client()
    yield settings
    forget_client()


def test_the_client_of_a_process_is_made_from_its_settings(deployment: Any) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        deployment.EMS_BASE_URL = server.url
        assert get_client().cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
        assert get_client() is get_client()
        get_client().close()
    assert head_of(server.requests[0])[1]["X-CoinAPI-Key"] == KEY


def test_without_a_certificate_that_was_there_at_the_start_no_call_leaves_until_it_is_back(
    deployment: Any, certificates: Certificates, tmp_path: Path
) -> None:
    path = tmp_path / "client.pem"
    path.write_bytes(certificates.client.read_bytes())
    deployment.EMS_CLIENT_CERT, deployment.EMS_CA_BUNDLE = str(path), str(certificates.ca)
    with serving(
        answering(response(200, ACKNOWLEDGED)), tls=certificates.server_context(ask_client=True)
    ) as server:
        deployment.EMS_BASE_URL = server.url
        EmsClient.from_settings().close()  # what is checked when the system starts
        path.rename(tmp_path / "rotated.pem")
        notifications: list[int] = []
        answer = get_client().cancel_all("KRAKEN", on_sent=lambda: notifications.append(1))
        assert (answer.outcome, notifications) == (Outcome.NOT_DELIVERED, [1])
        assert "No such file" in answer.transport_error
        assert "No such file" in get_client().open_orders("KRAKEN").error
        (tmp_path / "rotated.pem").rename(path)
        assert get_client().cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
        get_client().close()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "ems.example.com",
        "ftp://ems.example.com",
        "https://",
        "https://user:word@ems.example.com",
        "https://ems.example.com/?a=b",
        "https://ems.example.com/#x",
    ],
)
def test_a_base_url_that_cannot_work_is_refused_without_repeating_it(base_url: str) -> None:
    with pytest.raises(ValueError, match="EMS_BASE_URL") as caught:
        EmsClient(base_url=base_url)
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize("key", ["secret\n", " secret", "sec ret", "sécret", "secret\x00"])
def test_a_key_that_is_no_header_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="EMS_API_KEY") as caught:
        EmsClient(base_url="http://127.0.0.1", api_key=key)
    assert "ret" not in str(caught.value)


def test_the_key_is_in_no_answer_error_log_or_representation(
    client_for: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="urllib3")
    echoes = json.dumps(
        {"error": f"bad key {KEY}", "reject_reason": KEY, "traceId": KEY, "rejected_message": KEY}
    ).encode()
    for data in (
        response(401, echoes),
        response(200, f"<p>{KEY}".encode()),
        f"HTTP/1.1 {KEY} what\r\n\r\n".encode(),
        f"{KEY}\r\n\r\n".encode(),
        f"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n".encode(),
        b"",
    ):
        with serving(answering(data), tls=None) as server:
            client = client_for(server.url, api_key=KEY, timeout=0.3)
            texts = [repr(client.cancel_all("KRAKEN")), repr(client.open_orders("KRAKEN"))]
        assert KEY not in "".join(texts)
        assert KEY not in repr(client)
        assert len(server.requests) >= 2
    refused = client.cancel_all("KRAKEN")
    assert refused.outcome is Outcome.NOT_DELIVERED
    assert KEY not in repr(refused)
    assert caplog.records
    assert KEY not in caplog.text


def test_a_short_key_does_not_mask_ordinary_words_of_the_ems(client_for: ClientFactory) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        assert client_for(server.url, api_key="Ok").cancel_all("KRAKEN").message == "Ok"


def test_a_callback_that_fails_does_not_stop_the_cancel(
    client_for: ClientFactory, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("not my day")

    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        answer = client_for(server.url).cancel_all("KRAKEN", on_sent=fail)
    assert (answer.outcome, answer.retry_advice) == (Outcome.ACKNOWLEDGED, RetryAdvice.AFTER_PAUSE)
    assert "not my day" in caplog.text
