"""A call ends at its total deadline, even if the answer drips, and within its memory limit."""

import gzip
import itertools
import time
import tracemalloc
from collections.abc import Callable

import pytest

from killswitch.ems.answers import MAX_BODY_BYTES, Outcome, RetryAdvice
from killswitch.ems.client import LARGE_LIST_SLOTS
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import (
    ACKNOWLEDGED,
    Connection,
    answering_once,
    never_answering,
    response,
    serving,
)

TIMEOUT = 0.4
SLACK_S = 2.5  # for a busy machine; a whole drip would take 3.7 seconds and more

CHUNKED = b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# The part that is sent at once, and the part that is then sent byte by byte.
DRIPS = {
    "status line": (b"", response(200, ACKNOWLEDGED)),
    "headers": (b"HTTP/1.1 200 X\r\n", b"A: b\r\n" * 50 + b"\r\n"),
    "body": (response(200, ACKNOWLEDGED)[: -len(ACKNOWLEDGED)], ACKNOWLEDGED),
    "body until close": (b"HTTP/1.1 200 X\r\n\r\n", ACKNOWLEDGED),
    "chunk size": (CHUNKED, b"0" * 100),
    "chunks": (CHUNKED, b"1\r\nx\r\n" * 100),
    "trailers": (CHUNKED + b"12\r\n" + ACKNOWLEDGED[:18] + b"\r\n0\r\n", b"A: b\r\n" * 50),
    "continue": (CONTINUE, CONTINUE * 50),
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("phase", DRIPS)
def test_a_dripping_server_costs_the_total_time_and_is_unknown(
    phase: str, tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    at_once, slowly = DRIPS[phase]

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(at_once)
        connection.drip(slowly)

    with serving(script, tls=certificates.server_context() if tls else None) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=TIMEOUT)
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)
    assert TIMEOUT * 0.9 <= answer.duration_ms / 1000 <= TIMEOUT + SLACK_S
    assert "0.4 s" in answer.transport_error


def endless(pieces: Callable[[], bytes], *, head: bytes) -> Callable[[Connection], None]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(head)
        while not connection.server.stop.is_set():
            connection.send(pieces())

    return script


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", CONTINUE * 100),
        (b"HTTP/1.1 ", b"2" * 10_000),
        (b"HTTP/1.1 200 X\r\n", b"A: b\r\n" * 1000),
        (CHUNKED + b"0\r\n", b"A: b\r\n" * 1000),
        (CHUNKED, b"1\r\nx\r\n" * 1000),
        (CHUNKED, b"-5\r\n" + b"x" * 1000),
        (b"HTTP/1.1 200 X\r\n\r\n", b"x" * 100_000),
        (b"HTTP/1.1 200 X\r\nContent-Length: 99999999999\r\n\r\n", b" " * 100_000),
        (b"HTTP/1.1 302 X\r\nLocation: /\r\n\r\n", b"x" * 100_000),
    ],
)
def test_a_server_that_never_stops_is_cut_off(
    head: bytes, piece: bytes, client_for: ClientFactory
) -> None:
    with serving(endless(lambda: piece, head=head)) as server:
        answer = client_for(server.url, timeout=TIMEOUT).cancel_all("KRAKEN")
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.duration_ms / 1000 <= TIMEOUT + SLACK_S
    assert len(answer.body) <= MAX_BODY_BYTES
    assert not answer.body_complete


def test_an_oversized_answer_is_cut_and_its_connection_not_used_again(
    client_for: ClientFactory,
) -> None:
    requests = itertools.count()

    def script(connection: Connection) -> None:
        while connection.read_request():
            oversized = ACKNOWLEDGED + b" " * 4 * MAX_BODY_BYTES
            connection.send(response(200, ACKNOWLEDGED if next(requests) else oversized))

    with serving(script) as server:
        client = client_for(server.url)
        answer = client.cancel_all("KRAKEN")
        assert (answer.outcome, len(answer.body)) == (Outcome.UNKNOWN, MAX_BODY_BYTES)
        assert not answer.body_complete
        assert "larger than" in answer.transport_error
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2


def test_an_answer_of_exactly_the_limit_is_whole(client_for: ClientFactory) -> None:
    body = ACKNOWLEDGED + b" " * (MAX_BODY_BYTES - len(ACKNOWLEDGED))
    with serving(answering_once(response(200, body))) as server:
        answer = client_for(server.url, timeout=2).cancel_all("KRAKEN")
    assert (answer.outcome, answer.body_complete) == (Outcome.ACKNOWLEDGED, True)


def test_a_gzip_bomb_stays_packed(client_for: ClientFactory) -> None:
    bomb = gzip.compress(b"[" + b" " * 100_000_000, compresslevel=1)
    with serving(answering_once(response(200, bomb, "Content-Encoding: gzip"))) as server:
        client = client_for(server.url, timeout=3)
        tracemalloc.start()
        try:
            answer, orders = client.cancel_all("KRAKEN"), client.open_orders("KRAKEN")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.body == bomb[:MAX_BODY_BYTES]
    assert not orders.readable
    assert peak < 20_000_000


def test_a_list_that_drips_is_not_readable_in_time(client_for: ClientFactory) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 X\r\n\r\n")
        connection.drip(b"[" + b" " * 1000)

    with serving(script) as server:
        orders = client_for(server.url).open_orders("KRAKEN", timeout=TIMEOUT)
    assert (orders.readable, orders.http_status) == (False, 200)
    assert orders.duration_ms / 1000 <= TIMEOUT + SLACK_S
    assert "0.4 s" in orders.error


def test_a_list_larger_than_a_cancels_answer_is_read_whole(client_for: ClientFactory) -> None:
    row = b'{"exchange_id":"KRAKEN","status":"NEW","price":0.10,"x":"' + b"y" * 300 + b'"},'
    body = b"[" + row * 20_000 + b'{"exchange_id":"KRAKEN/JOHN"}]'
    with serving(answering_once(response(200, body))) as server:
        started_at = time.monotonic()
        orders = client_for(server.url, timeout=20).open_orders("KRAKEN")
    assert time.monotonic() - started_at < 15
    assert (orders.readable, orders.count("KRAKEN")) == (True, 20_000)
    assert orders.count("KRAKEN/JOHN") == 1
    assert len(orders.orders) == 1000
    assert orders.orders[0].price == "0.10"


def test_the_timeout_of_a_call_replaces_the_clients(client_for: ClientFactory) -> None:
    with serving(never_answering) as server:
        answer = client_for(server.url, timeout=30).cancel_all("KRAKEN", timeout=0.2)
    assert answer.outcome is Outcome.UNKNOWN
    assert answer.duration_ms < 5000


def test_a_large_list_waits_for_a_slot_and_small_ones_do_not(client_for: ClientFactory) -> None:
    row = b'{"exchange_id":"KRAKEN","status":"NEW","x":"' + b"y" * 1000 + b'"},'
    large = b"[" + row * 5_000 + b'{"exchange_id":"KRAKEN"}]'
    with LARGE_LIST_SLOTS, LARGE_LIST_SLOTS:
        with serving(answering_once(response(200, b"[]"))) as server:
            assert client_for(server.url).open_orders("KRAKEN").readable
        with serving(answering_once(response(200, large))) as server:
            late = client_for(server.url).open_orders("KRAKEN", timeout=TIMEOUT)
    assert not late.readable
    assert "other large responses" in late.error
    assert late.duration_ms / 1000 <= TIMEOUT + SLACK_S
    with serving(answering_once(response(200, large))) as server:
        assert client_for(server.url, timeout=5).open_orders("KRAKEN").count("KRAKEN") == 5_001
