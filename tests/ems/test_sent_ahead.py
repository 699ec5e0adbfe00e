"""A cancel may leave before its call: over a connection that is open, and only once."""

import socket
import threading
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from killswitch.ems import client as client_module
from killswitch.ems.answers import Outcome, RetryAdvice, TimedCancelAnswer
from killswitch.ems.client import MAX_CONNECT_AHEAD_S, EmsClient, NullEmsClient
from killswitch.ems.transport import deadline_sockets
from killswitch.ems.transport.connecting import connect
from killswitch.ems.transport.deadline_sockets import PlainPool
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


def test_a_host_that_is_near_is_connected_to_at_once(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_sockets, "_NEAR_S", 60.0)  # also if the machine is busy
    monkeypatch.setattr(client_module, "MAX_CONNECT_AHEAD_S", 5.0)
    with serving(answering(OK)) as server:
        client = client_for(server.url, connect_timeout=5)
        begun = [client.begin_cancel_all("KRAKEN") for _ in range(3)]
        answers = [client.cancel_all("KRAKEN", begun=one) for one in begun if one]
        assert [answer.outcome for answer in answers] == [Outcome.ACKNOWLEDGED] * 3
    assert (server.accepted, len(server.requests)) == (3, 3)


@pytest.mark.parametrize("tls", [False, True], ids=["a slow connection", "https"])
def test_a_host_that_is_far_is_left_to_the_call_itself(
    tls: bool,
    client_for: ClientFactory,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadline_sockets, "_NEAR_S", 0.0)
    monkeypatch.setattr(deadline_sockets, "_MAX_LOST_S", 0.0)
    monkeypatch.setattr(deadline_sockets, "_REST_OF_A_PRESS_S", 60.0)
    notices: list[str] = []
    with serving(answering(OK), tls=certificates.server_context() if tls else None) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        begun = [
            client.begin_cancel_all("KRAKEN", on_sent=lambda: notices.append("sent"))
            for _ in range(3)
        ]
        # The first one has found out how long it takes.
        assert [bool(one) for one in begun] == [not tls, False, False]
        assert len(notices) == (not tls)
        for one in begun:
            assert client.cancel_all("KRAKEN", begun=one).outcome is Outcome.ACKNOWLEDGED
    assert len(server.requests) == 3


@pytest.mark.parametrize("how", ["refused", "unanswered"])
def test_a_host_that_cannot_be_reached_is_not_waited_for(
    how: str, client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[float] = []

    def count(*args: Any, timeout_s: float, **kwargs: Any) -> socket.socket:
        attempts.append(timeout_s)
        return connect(*args, timeout_s=timeout_s, **kwargs)

    monkeypatch.setattr("killswitch.ems.transport.deadline_sockets.connect", count)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        address = listener.getsockname()
        if how == "refused":
            listener.close()
        else:
            for _ in range(2):  # fills the line of connections, so that the next is not answered
                other = waiting.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(address)
        client = client_for(f"http://127.0.0.1:{address[1]}")
        assert [client.begin_cancel_all("KRAKEN") for _ in range(3)] == [None, None, None]
        assert len(attempts) == 1
        assert attempts[0] <= MAX_CONNECT_AHEAD_S
        assert client.cancel_all("KRAKEN").outcome is Outcome.NOT_DELIVERED


def test_each_open_connection_takes_one_and_the_next_finds_none(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        monkeypatch.setattr(PlainPool, "may_open_ahead", False)
        begun = [client.begin_cancel_all("KRAKEN") for _ in range(3)]
        assert [bool(one) for one in begun] == [True, True, False]
        assert all(in_another_thread(client, begun=one).http_status == 200 for one in begun[:2])
    assert server.accepted == 2


def test_a_connection_that_is_closed_or_was_idle_too_long_is_not_used(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainPool, "may_open_ahead", False)
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


def test_a_failure_after_the_first_byte_is_not_sent_again(
    client_for: ClientFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise MemoryError

    with serving(answering(OK)) as server:
        client = client_for(server.url)
        client.cancel_all("KRAKEN")
        connection = client._transport._adapter._pool.pool.queue[-1]
        with monkeypatch.context() as patched:
            patched.setattr(deadline_sockets, "SentAhead", fail)
            begun = client.begin_cancel_all("KRAKEN")
        assert begun
        answer = client.cancel_all("KRAKEN", begun=begun)
        connection.close()
    assert (answer.outcome, answer.may_have_been_carried_out) == (Outcome.UNKNOWN, True)
    assert len(server.requests) == 2


def test_a_server_that_reads_nothing_is_not_waited_for(client_for: ClientFactory) -> None:
    def reads_no_more(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.stay_silent()

    with serving(reads_no_more) as server:
        client = client_for(server.url, timeout=5)
        client.cancel_all("KRAKEN")
        sock = client._transport._adapter._pool.pool.queue[-1].sock._sock
        sock.setblocking(False)
        for size in (65536, 1):
            with suppress(BlockingIOError):
                while sock.send(b"x" * size):
                    pass
        # One that waits would return what was begun, with its failure.
        assert client.begin_cancel_all("KRAKEN") is None


def test_after_a_failed_call_the_connections_that_are_open_are_still_used(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    together = threading.Barrier(3)

    def script(connection: Connection) -> None:
        while request := connection.read_request():
            if b"SILENT" in request:
                return connection.stay_silent()
            if b"BINANCE" in request:
                together.wait(5)
            connection.send(OK)
        return None

    with serving(script, tls=certificates.server_context()) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca), timeout=5)
        threads = [threading.Thread(target=client.cancel_all, args=["BINANCE"]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert client.cancel_all("SILENT", timeout=0.3).outcome is Outcome.UNKNOWN
        begun = [client.begin_cancel_all("KRAKEN") for _ in range(2)]
        assert all(begun)
        for one in begun:
            assert client.cancel_all("KRAKEN", begun=one).outcome is Outcome.ACKNOWLEDGED


def test_without_a_client_nothing_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect_to(*_: Any, **__: Any) -> socket.socket:
        raise AssertionError("it connects")

    monkeypatch.setattr("killswitch.ems.transport.deadline_sockets.connect", connect_to)
    client = NullEmsClient(ValueError("no such certificate"))
    assert client.begin_cancel_all("KRAKEN") is None
    assert client.cancel_all("KRAKEN").outcome is Outcome.NOT_DELIVERED
    assert client._transport._adapter._pool is None  # it was not even looked for


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
