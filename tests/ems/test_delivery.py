"""Delivered or not: certain only while not one byte of the request has left."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests

from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.transport.adapter import error_text
from tests.conftest import wait_for
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import (
    ACKNOWLEDGED,
    Connection,
    answering,
    answering_once,
    never_answering,
    response,
    serving,
)


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that is bound but not listening refuses, and no other process can take it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@contextmanager
def black_hole() -> Iterator[int]:
    """A listener whose queue is full: the kernel drops every further connection."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def assert_not_delivered(answer: TimedCancelAnswer) -> None:
    assert answer.outcome is Outcome.NOT_DELIVERED
    assert answer.retry_advice is RetryAdvice.AFTER_PAUSE
    assert not answer.may_have_been_carried_out
    assert answer.http_status is None
    assert answer.transport_error


def assert_unknown(answer: TimedCancelAnswer) -> None:
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.retry_advice is RetryAdvice.AFTER_PAUSE
    assert answer.may_have_been_carried_out
    assert answer.transport_error


def test_a_closed_port_is_not_delivered(client_for: ClientFactory) -> None:
    with closed_port() as port:
        answer = client_for(f"http://127.0.0.1:{port}").cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert "refused" in answer.transport_error


def test_a_port_that_never_answers_is_not_delivered_in_time(client_for: ClientFactory) -> None:
    with black_hole() as port:
        answer = client_for(f"http://127.0.0.1:{port}", connect_timeout=0.3).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert 250 < answer.duration_ms < 5000


def test_a_name_that_does_not_exist_is_not_delivered(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown_name(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_name)
    answer = client_for("http://ems.invalid").cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert "not known" in answer.transport_error


def test_a_silent_name_server_is_not_delivered_in_time_and_costs_one_thread(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, lookups = threading.Event(), threading.Semaphore(0)

    def silent(*_: Any, **__: Any) -> Any:
        lookups.release()
        release.wait(5)
        raise socket.gaierror(socket.EAI_AGAIN, "again")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    client = client_for("http://silent.invalid", connect_timeout=0.3)
    answers: list[TimedCancelAnswer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.cancel_all("KRAKEN")))
        for _ in range(20)
    ]
    started_at = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - started_at < 4
    release.set()
    assert len(answers) == 20
    for answer in answers:
        assert_not_delivered(answer)
    assert lookups.acquire(blocking=False)
    assert not lookups.acquire(blocking=False)


def test_an_unresponsive_address_leaves_time_for_the_next_one(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with black_hole() as hole, serving(answering(response(200, ACKNOWLEDGED))) as server:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (hole, server.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        answer = client_for("http://two.invalid").cancel_all("KRAKEN")
    assert answer.outcome is Outcome.ACKNOWLEDGED


def test_many_unresponsive_addresses_take_one_connect_timeout_together(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with black_hole() as hole:
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", hole))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * 8)
        answer = client_for("http://eight.invalid", connect_timeout=0.4).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert answer.duration_ms < 2500  # eight, one after the other, would take 3.2 s


def test_a_silent_tls_handshake_is_not_delivered_in_time(client_for: ClientFactory) -> None:
    with serving(Connection.stay_silent) as server:
        url = server.url.replace("http:", "https:")
        answer = client_for(url, connect_timeout=0.3).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert 250 < answer.duration_ms < 5000


def test_a_dripping_tls_handshake_is_not_delivered_in_time(client_for: ClientFactory) -> None:
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + b"\x00" * 16_000
    with serving(lambda connection: connection.drip(record)) as server:
        url = server.url.replace("http:", "https:")
        answer = client_for(url, connect_timeout=0.3).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert answer.duration_ms < 5000


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_that_speaks_no_tls_is_not_delivered(
    reply: bytes, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        connection.sock.recv(4096)
        connection.send(reply)

    with serving(script) as server:
        url = server.url.replace("http:", "https:")
        assert_not_delivered(client_for(url).cancel_all("KRAKEN"))


def test_an_untrusted_certificate_is_not_delivered(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    script = answering(response(200, ACKNOWLEDGED))
    with serving(script, tls=certificates.server_context()) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert "CERTIFICATE_VERIFY_FAILED" in answer.transport_error
    assert server.requests == []


def test_a_certificate_for_another_name_is_not_delivered(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    script = answering(response(200, ACKNOWLEDGED))
    with serving(script, tls=certificates.server_context()) as server:
        url = server.url.replace("127.0.0.1", "127.0.0.2")
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
            answer = client_for(url, ca_bundle=str(certificates.ca)).cancel_all("KRAKEN")
    assert_not_delivered(answer)
    assert server.requests == []


@pytest.mark.parametrize("timeout", [0.0, -1.0])
def test_with_no_time_left_nothing_leaves(timeout: float, client_for: ClientFactory) -> None:
    with serving(answering(response(200, ACKNOWLEDGED))) as server:
        client = client_for(server.url)
        client.cancel_all("WARM")
        assert_not_delivered(client.cancel_all("KRAKEN", timeout=timeout))
        assert not client.open_orders("KRAKEN", timeout=timeout).readable
    assert len(server.requests) == 1


def test_silence_after_the_request_is_unknown(client_for: ClientFactory) -> None:
    with serving(never_answering) as server:
        answer = client_for(server.url, timeout=0.3).cancel_all("KRAKEN")
    assert_unknown(answer)
    assert 250 < answer.duration_ms < 5000


@pytest.mark.parametrize(
    "start",
    [b"", b"H", b"HTTP/1.1 20", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n"],
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_new_connection_that_breaks_after_the_request_is_unknown(
    start: bytes, end: str, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(start)
        if end == "reset":
            connection.reset()

    with serving(script) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    if start.endswith(b"X\r\n") and end == "close":
        assert (answer.outcome, answer.http_status) == (Outcome.UNKNOWN, 200)
    else:
        assert answer.outcome is Outcome.UNKNOWN
    assert answer.retry_advice is RetryAdvice.AFTER_PAUSE
    assert len(server.requests) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_half_a_body_is_unknown_and_kept(end: str, client_for: ClientFactory) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(response(200, ACKNOWLEDGED)[:-10])
        connection.server.stop.wait(0.1)
        if end == "reset":
            connection.reset()

    with serving(script) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert_unknown(answer)
    assert answer.http_status == 200
    assert (answer.body, answer.body_complete) == (ACKNOWLEDGED[:-10], False)


def test_half_a_chunk_is_unknown_even_if_what_came_is_whole_json(
    client_for: ClientFactory,
) -> None:
    head = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(answering_once(head + b"ff\r\n" + ACKNOWLEDGED)) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert_unknown(answer)
    assert (answer.body, answer.body_complete) == (ACKNOWLEDGED, False)


def test_a_refusal_cut_short_stays_a_refusal(client_for: ClientFactory) -> None:
    with serving(answering_once(response(401, b'{"error":"no"}')[:-3])) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert (answer.outcome, answer.http_status) == (Outcome.REJECTED, 401)
    assert (answer.body, answer.body_complete) == (b'{"error":"n', False)
    assert answer.transport_error


def test_on_sent_is_called_once_when_the_first_byte_is_about_to_leave(
    client_for: ClientFactory,
) -> None:
    events: list[str] = []
    answered = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        events.append("received")
        answered.wait(5)
        connection.send(response(200, ACKNOWLEDGED))

    def sent() -> None:
        events.append("leaving")
        answered.set()

    with serving(script) as server:
        client_for(server.url).cancel_all("KRAKEN", on_sent=sent)
    assert events == ["leaving", "received"]


def test_on_sent_is_called_once_when_nothing_will_leave(client_for: ClientFactory) -> None:
    calls: list[int] = []
    with closed_port() as port:
        client = client_for(f"http://127.0.0.1:{port}")
        assert_not_delivered(client.cancel_all("KRAKEN", on_sent=lambda: calls.append(1)))
    assert calls == [1]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused (error 111)"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known (error -2)"),
        (TimeoutError("not finished within 10.0 s"), "not finished within 10.0 s"),
        (TimeoutError(), "TimeoutError: "),
        (ValueError("odd"), "ValueError: odd"),
        (requests.ConnectionError(OSError(104, "Reset")), "Reset (error 104)"),
    ],
    ids=repr,
)
def test_an_error_is_described_in_the_systems_own_words(error: Exception, text: str) -> None:
    assert error_text(error) == text


def test_the_answer_is_read_only_after_the_caller_has_waited(client_for: ClientFactory) -> None:
    may_answer = threading.Event()
    is_received: list[bool] = []

    def script(connection: Connection) -> None:
        is_received.append(bool(connection.read_request()))
        if may_answer.wait(5):
            connection.send(response(200, ACKNOWLEDGED))

    def before_reading() -> None:
        wait_for(lambda: is_received == [True], seconds=5)  # the whole request has been sent
        may_answer.set()

    with serving(script) as server:
        answer = client_for(server.url).cancel_all("KRAKEN", before_reading=before_reading)
    assert answer.outcome == Outcome.ACKNOWLEDGED


def test_a_request_is_sent_in_one_piece(client_for: ClientFactory) -> None:
    pieces: list[bytes] = []

    def script(connection: Connection) -> None:
        while piece := connection.sock.recv(65536):
            pieces.append(piece)
            if piece.endswith(b"}"):
                connection.send(response(200, ACKNOWLEDGED))

    with serving(script) as server:
        client = client_for(server.url)
        for _ in range(20):
            assert client.cancel_all("KRAKEN").outcome == Outcome.ACKNOWLEDGED
    assert all(b'{"exchange_id": "KRAKEN"}' in piece for piece in pieces)
    assert len(pieces) == 20
