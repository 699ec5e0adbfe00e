"""A cancel may leave before its call: over a connection that is open, and only once."""

import socket
import threading
from typing import Any

import pytest

from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.client import EmsClient
from killswitch.runtime.deadlines import wait_until
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import ACKNOWLEDGED, Connection, answering, response, serving

OK = response(200, ACKNOWLEDGED)


def in_another_thread(client: EmsClient, **arguments: Any) -> TimedCancelAnswer:
    answers: list[TimedCancelAnswer] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.cancel_all("KRAKEN", **arguments))
    )
    thread.start()
    thread.join(10)
    return answers[0]


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_it_leaves_at_once_and_its_answer_is_read_by_another_thread(
    tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    with serving(answering(OK), tls=certificates.server_context() if tls else None) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        client.cancel_all("BINANCE")
        begun = client.begin_cancel_all("KRAKEN")
        assert begun
        assert wait_until(lambda: len(server.requests) == 2, timeout_s=5, pause_s=0.01)
        answer = in_another_thread(client, begun=begun)
        assert client.cancel_all("BITSTAMP").http_status == 200
    assert answer.outcome is Outcome.ACKNOWLEDGED
    assert answer.started_at == begun.started_at
    names = [request.rpartition(b"\r\n\r\n")[2] for request in server.requests]
    assert names == [
        b'{"exchange_id": "%s"}' % name for name in (b"BINANCE", b"KRAKEN", b"BITSTAMP")
    ]
    assert server.accepted == 1


def test_without_an_open_connection_nothing_is_sent(client_for: ClientFactory) -> None:
    notices: list[str] = []
    with serving(answering(OK)) as server:
        client = client_for(server.url)
        assert client.begin_cancel_all("KRAKEN", on_sent=lambda: notices.append("sent")) is None
        assert (server.accepted, server.requests, notices) == (0, [], [])
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED


def test_each_open_connection_takes_one_and_the_next_finds_none(client_for: ClientFactory) -> None:
    both_are_read = threading.Barrier(2)

    def script(connection: Connection) -> None:
        while connection.read_request():
            both_are_read.wait(5)
            connection.send(OK)

    with serving(script) as server:
        client = client_for(server.url, timeout=5)
        other = threading.Thread(target=client.cancel_all, args=["BINANCE"])
        other.start()
        client.cancel_all("BINANCE")
        other.join(5)
        begun = [client.begin_cancel_all("KRAKEN") for _ in range(3)]
        assert [bool(one) for one in begun] == [True, True, False]
        assert all(in_another_thread(client, begun=one).http_status == 200 for one in begun[:2])
    assert server.accepted == 2


def test_a_connection_that_is_closed_or_was_idle_too_long_is_not_used(
    client_for: ClientFactory,
) -> None:
    closed = threading.Event()

    def closes_after_one(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serving(closes_after_one) as server:
        client = client_for(server.url)
        client.cancel_all("KRAKEN")
        assert closed.wait(5)
        assert client.begin_cancel_all("KRAKEN") is None
        assert len(server.requests) == 1
    with serving(answering(OK)) as server:
        client = client_for(server.url, max_idle_s=0.0)
        client.cancel_all("KRAKEN")
        assert client.begin_cancel_all("KRAKEN") is None
        assert len(server.requests) == 1


def test_it_is_notified_once_when_the_first_byte_leaves(client_for: ClientFactory) -> None:
    notices: list[str] = []
    with serving(answering(OK)) as server:
        client = client_for(server.url)
        client.cancel_all("KRAKEN")
        begun = client.begin_cancel_all("KRAKEN", on_sent=lambda: notices.append("sent"))
        assert notices == ["sent"]
        client.cancel_all("KRAKEN", begun=begun)
    assert notices == ["sent"]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("end", ["close", "reset", "silence", "refusal"])
def test_it_ends_as_any_other_call_does(end: str, ahead: bool, client_for: ClientFactory) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.read_request()
        if end == "reset":
            connection.reset()
        elif end == "silence":
            connection.stay_silent()
        elif end == "refusal":
            connection.send(response(403))

    with serving(script) as server:
        client = client_for(server.url, timeout=0.5)
        client.cancel_all("KRAKEN")
        begun = client.begin_cancel_all("KRAKEN") if ahead else None
        assert bool(begun) == ahead
        answer = client.cancel_all("KRAKEN", begun=begun)
    expected = {
        "close": (Outcome.UNKNOWN, RetryAdvice.AT_ONCE),
        "reset": (Outcome.UNKNOWN, RetryAdvice.AT_ONCE),
        "silence": (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE),
        "refusal": (Outcome.REJECTED, RetryAdvice.ONCE_MORE),
    }
    assert (answer.outcome, answer.retry_advice) == expected[end]
    assert len(server.requests) == 2


@pytest.mark.parametrize("ahead", [True, False])
def test_a_send_that_fails_may_have_sent_a_part(ahead: bool, client_for: ClientFactory) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.stay_silent()

    with serving(script) as server:
        client = client_for(server.url, timeout=0.5)
        client.cancel_all("KRAKEN")
        pool: Any = client._transport._adapter._pool
        pool.pool.queue[-1].sock.shutdown(socket.SHUT_WR)
        begun = client.begin_cancel_all("KRAKEN") if ahead else None
        assert bool(begun) == ahead
        answer = client.cancel_all("KRAKEN", begun=begun)
    assert (answer.outcome, answer.may_have_been_carried_out) == (Outcome.UNKNOWN, True)
    assert len(server.requests) == 1


def test_another_call_does_not_get_its_answer(
    client_for: ClientFactory,
) -> None:
    def script(connection: Connection) -> None:
        while request := connection.read_request():
            connection.send(response(490) if b"KRAKEN" in request else OK)

    with serving(script) as server:
        client = client_for(server.url)
        client.cancel_all("BINANCE")
        begun = client.begin_cancel_all("KRAKEN")
        assert client.cancel_all("BINANCE").http_status == 200
        assert client.cancel_all("KRAKEN", begun=begun).http_status == 490
    assert server.accepted == 2
