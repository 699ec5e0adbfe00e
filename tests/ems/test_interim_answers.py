"""Answers with 1xx are read over: only the final answer says what became of a call."""

import socket
import tracemalloc

import pytest

from killswitch.ems.answers import Outcome, RetryAdvice
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import ACKNOWLEDGED, Connection, Script, answering, response, serving

OK = response(200, ACKNOWLEDGED)
LIST = response(200, b'[{"exchange_id":"KRAKEN","status":"NEW"}]')
TIMEOUT = 0.4
SLACK_S = 2.5  # for a busy machine


def interim(status: int | str, *headers: str, end: str = "\r\n") -> bytes:
    return end.join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


HINTS = interim("103 Early Hints", "Link: </style.css>; rel=preload", 'Link: </2>; rel="next"')
INTERIM = {
    "100": interim("100 Continue"),
    "102": interim("102 Processing", "Retry-After: 120"),
    "103": HINTS,
    "unknown": interim("199 Whatever"),
    "without a reason": interim(103),
    "HTTP/1.0": b"HTTP/1.0 103 Early Hints\r\n\r\n",
    "many": (interim(100) + interim(102) + HINTS) * 500,
    "many headers": interim(103, *["Link: </a.css>; rel=preload"] * 500),
    "long header": interim(103, "Link: " + "a" * 200_000),
    # The rest of the long line is a line end alone, which does not end the headers.
    "header of exactly one piece": interim(103, "L: " + "a" * (64 * 1024 - 3), "HTTP/1.1 490 X"),
    "folded header": interim(103, "Link: </a>;", " rel=preload", " ", "\tA: b"),
    "bare line feeds": interim(103, "Link: </a>", end="\n"),
    "headers of a body": interim(103, "Content-Length: 9", "Transfer-Encoding: chunked"),
    "close": interim(103, "Connection: close"),
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("name", INTERIM)
def test_the_final_answer_after_interim_ones_counts(
    name: str, tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    """For cancels and reads, on a new connection and on a reused one."""

    def script(connection: Connection) -> None:
        while request := connection.read_request():
            connection.send(INTERIM[name] + (LIST if request.startswith(b"GET") else OK))

    with serving(script, tls=certificates.server_context() if tls else None) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        for _ in range(2):
            answer = client.cancel_all("KRAKEN")
            assert (answer.outcome, answer.http_status) == (Outcome.ACKNOWLEDGED, 200)
            assert (answer.body, answer.transport_error) == (ACKNOWLEDGED, "")
            orders = client.open_orders("KRAKEN")
            assert (orders.readable, orders.count("KRAKEN")) == (True, 1)
    assert (server.accepted, len(server.requests)) == (1, 4)


@pytest.mark.parametrize("first", ["HTTP/1.0 200 X\r\n\r\n", "HTTP/1.1 200 X\r\n\r\n"])
def test_the_final_answer_may_end_with_its_connection(
    first: str, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(HINTS)
        connection.server.stop.wait(0.05)
        connection.send(first.encode() + ACKNOWLEDGED)

    with serving(script) as server:
        client = client_for(server.url)
        for _ in range(2):
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2


def test_only_the_headers_of_the_final_answer_count(client_for: ClientFactory) -> None:
    def script(connection: Connection) -> None:
        while request := connection.read_request():
            is_read = request.startswith(b"GET")
            final = response(200, b"[]") if is_read else response(429, b"{}", "Retry-After: 7")
            connection.send(interim(103, "Retry-After: 120", 'Link: </2>; rel="next"') + final)

    with serving(script) as server:
        client = client_for(server.url)
        assert client.open_orders("KRAKEN").readable
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_after) == (Outcome.REJECTED, 7)


@pytest.mark.parametrize("switching", ["101 Switching Protocols", "101"])
@pytest.mark.parametrize("before", [b"", HINTS], ids=["alone", "after 103"])
def test_101_is_not_interim_and_its_connection_is_closed(
    switching: str, before: bytes, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        if b"EARLY" not in connection.read_request():
            connection.send(OK)
            return
        connection.send(before + interim(switching))
        connection.server.stop.wait(0.05)
        connection.send(OK)
        connection.stay_silent()

    with serving(script) as server:
        client = client_for(server.url)
        answer = client.cancel_all("EARLY")
        assert (answer.outcome, answer.http_status) == (Outcome.UNKNOWN, 101)
        assert (answer.transport_error, answer.body) == ("no final response", b"")
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    "start", [HINTS, HINTS[:-2], HINTS[:30], HINTS + interim(102), HINTS + OK[:9]]
)
@pytest.mark.parametrize("reused", [False, True], ids=["new", "reused"])
def test_interim_answers_alone_are_no_answer_and_not_sent_again_at_once(
    reused: bool, start: bytes, end: str, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        if reused:
            connection.read_request()
            connection.send(OK)
        connection.read_request()
        connection.send(start)
        if end == "reset":
            connection.server.stop.wait(0.05)
            connection.reset()

    with serving(script) as server:
        client = client_for(server.url)
        if reused:
            client.cancel_all("KRAKEN")
        answer = client.cancel_all("KRAKEN")
        assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
        assert answer.may_have_been_carried_out
        assert (answer.http_status, answer.body) == (None, b"")
        if not reused:
            orders = client.open_orders("KRAKEN")
            assert (orders.readable, orders.http_status) == (False, None)


@pytest.mark.parametrize(
    "garbage",
    [b"\r\n", b"garbage\r\n", b"Link: </a>\r\n\r\n", b"HTTP/1.1 99 X\r\n\r\n", b"X" * 70_000],
)
def test_garbage_between_an_interim_and_the_final_answer_is_unknown(
    garbage: bytes, client_for: ClientFactory
) -> None:
    with serving(answering(HINTS + garbage + OK)) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert (answer.outcome, answer.http_status) == (Outcome.UNKNOWN, None)


def endless(piece: bytes, *, pause_s: float) -> Script:
    def script(connection: Connection) -> None:
        connection.read_request()
        while not connection.server.stop.wait(pause_s):
            connection.send(piece)

    return script


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("piece", "pause_s"),
    [
        (HINTS * 100, 0),
        (HINTS, 0.05),
        (HINTS + b"HTTP/1.1 103 X\r\n" + b"A: b\r\n" * 1000, 0),
        (b"HTTP/1.1 103 X\r\nA: " + b"x" * 100_000, 0),
    ],
    ids=["fast", "slow", "headers", "long lines"],
)
def test_interim_answers_without_an_end_cost_the_total_time_and_no_memory(
    piece: bytes, pause_s: float, tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    context = certificates.server_context() if tls else None
    with serving(endless(piece, pause_s=pause_s), tls=context) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca))
        tracemalloc.start()
        try:
            answer = client.cancel_all("KRAKEN", timeout=TIMEOUT)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        orders = client.open_orders("KRAKEN", timeout=TIMEOUT)
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
    assert TIMEOUT * 0.9 <= answer.duration_ms / 1000 <= TIMEOUT + SLACK_S
    assert "0.4 s" in answer.transport_error
    assert peak_bytes < 5_000_000
    assert TIMEOUT * 0.9 <= orders.duration_ms / 1000 <= TIMEOUT + SLACK_S
    assert "0.4 s" in orders.error


def test_a_final_answer_that_is_late_after_interim_ones_is_not_taken_by_the_next_call(
    client_for: ClientFactory,
) -> None:
    def script(connection: Connection) -> None:
        is_slow = b"SLOW" in connection.read_request()
        connection.send(HINTS)
        connection.server.stop.wait(0.4 if is_slow else 0)
        connection.send(response(490) if is_slow else OK)
        connection.sock.shutdown(socket.SHUT_WR)

    with serving(script) as server:
        client = client_for(server.url, timeout=5)
        assert client.cancel_all("SLOW", timeout=0.2).outcome is Outcome.UNKNOWN
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2
