"""Connections are kept while they are fresh, and never trusted when they are not."""

import socket
import threading
import time

import pytest

from killswitch.ems.answers import Outcome, RetryAdvice
from killswitch.ems.client import MAX_IDLE_S
from killswitch.runtime.deadlines import wait_until
from tests.ems.conftest import Certificates, ClientFactory
from tests.ems.servers import (
    ACKNOWLEDGED,
    Connection,
    answering,
    answering_once,
    response,
    serving,
)

OK = response(200, ACKNOWLEDGED)


def test_a_connection_is_kept_for_the_next_call(client_for: ClientFactory) -> None:
    with serving(answering(OK)) as server:
        client = client_for(server.url)
        for _ in range(5):
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert (server.accepted, len(server.requests)) == (1, 5)


def test_the_longest_idle_time_of_a_kept_connection_is_five_seconds() -> None:
    assert MAX_IDLE_S == 5.0


def test_a_connection_that_idled_too_long_is_not_used_again(client_for: ClientFactory) -> None:
    def forgets_after_the_first(connection: Connection) -> None:
        """Half-open: the other side is gone without having closed the connection."""
        connection.read_request()
        connection.send(OK)
        connection.stay_silent()

    with serving(forgets_after_the_first) as server:
        client = client_for(server.url, max_idle_s=0.05)
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
        time.sleep(0.06)
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2


def test_a_probe_that_finds_no_new_connection_leaves_the_open_one_for_a_cancel(
    client_for: ClientFactory,
) -> None:
    with serving(answering(response(200, b"[]"))) as server:
        client = client_for(server.url)
        assert client.open_orders().readable
        server._listener.shutdown(socket.SHUT_RDWR)
        server._listener.close()
        assert "refused" in client.probe(None).error
        assert client.cancel_all("KRAKEN").http_status == 200


def test_probes_replace_the_connection_that_is_kept(client_for: ClientFactory) -> None:
    open_ones: set[int] = set()

    def script(connection: Connection) -> None:
        open_ones.add(id(connection))
        answering(response(200, b"[]"))(connection)
        open_ones.discard(id(connection))

    with serving(script) as server:
        client = client_for(server.url)
        for _ in range(5):
            assert client.probe(None).readable
        assert server.accepted == 5
        assert client.open_orders().readable
        assert server.accepted == 5, "the last one is kept for the next call"
        assert wait_until(lambda: len(open_ones) == 1, timeout_s=10, pause_s=0.01)


def test_a_connection_closed_while_idle_is_replaced(client_for: ClientFactory) -> None:
    closed = threading.Event()

    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.sock.shutdown(socket.SHUT_RDWR)
        closed.set()

    with serving(script) as server:
        client = client_for(server.url)
        for _ in range(3):
            closed.clear()
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
            assert closed.wait(5)
    assert server.accepted == 3


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_reused_connection_that_breaks_before_a_byte_is_sent_again_at_once(
    end: str, tls: bool, client_for: ClientFactory, certificates: Certificates
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.read_request()
        if end == "reset":
            connection.reset()

    with serving(script, tls=certificates.server_context() if tls else None) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca))
        client.cancel_all("KRAKEN")
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AT_ONCE)
    assert answer.may_have_been_carried_out
    assert (server.accepted, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK[:20]])
def test_a_reused_connection_that_breaks_after_a_byte_is_not(
    start: bytes, client_for: ClientFactory
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.read_request()
        connection.send(start)

    with serving(script) as server:
        client = client_for(server.url)
        client.cancel_all("KRAKEN")
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)


def test_a_reused_connection_that_is_silent_is_not_sent_again_at_once(
    client_for: ClientFactory,
) -> None:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(OK)
        connection.read_request()
        connection.stay_silent()

    with serving(script) as server:
        client = client_for(server.url, timeout=0.3)
        client.cancel_all("KRAKEN")
        answer = client.cancel_all("KRAKEN")
    assert (answer.outcome, answer.retry_advice) == (Outcome.UNKNOWN, RetryAdvice.AFTER_PAUSE)


def test_a_late_answer_is_not_taken_by_the_next_call(
    client_for: ClientFactory,
) -> None:
    def script(connection: Connection) -> None:
        first = b"SLOW" in connection.read_request()
        connection.server.stop.wait(0.4 if first else 0)
        connection.send(response(490) if first else OK)

    with serving(script) as server:
        client = client_for(server.url)
        assert client.cancel_all("SLOW", timeout=0.2).outcome is Outcome.UNKNOWN
        assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 2


def test_more_calls_than_the_pool_holds_are_all_made(client_for: ClientFactory) -> None:
    together = threading.Barrier(8)

    def script(connection: Connection) -> None:
        while connection.read_request():
            together.wait(5)
            connection.send(OK)

    with serving(script) as server:
        client = client_for(server.url, pool_size=2, timeout=5)
        outcomes: list[Outcome] = []
        threads = [
            threading.Thread(target=lambda: outcomes.append(client.cancel_all("KRAKEN").outcome))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert outcomes == [Outcome.ACKNOWLEDGED] * 8


def test_tls_is_verified_against_the_given_authority(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    with serving(answering(OK), tls=certificates.server_context()) as server:
        client = client_for(server.url, ca_bundle=str(certificates.ca))
        for _ in range(3):
            assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
    assert server.accepted == 1


def test_a_client_certificate_is_presented_to_a_server_that_requests_it(
    client_for: ClientFactory, certificates: Certificates
) -> None:
    authority = str(certificates.ca)
    with serving(answering(OK), tls=certificates.server_context(ask_client=True)) as server:
        trusted = client_for(server.url, ca_bundle=authority, client_cert=str(certificates.client))
        without = client_for(server.url, ca_bundle=authority)
        assert trusted.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
        assert without.cancel_all("KRAKEN").outcome is not Outcome.ACKNOWLEDGED
    assert len(server.requests) == 1


def test_files_that_are_missing_are_found_at_start(client_for: ClientFactory) -> None:
    with pytest.raises(OSError, match="No such file"):
        client_for("https://127.0.0.1", ca_bundle="/missing.pem")
    with pytest.raises(OSError, match="No such file"):
        client_for("https://127.0.0.1", client_cert="/missing.pem")


def test_a_body_without_a_length_ends_with_its_connection(client_for: ClientFactory) -> None:
    with serving(answering_once(b"HTTP/1.1 200 X\r\n\r\n" + ACKNOWLEDGED)) as server:
        answer = client_for(server.url).cancel_all("KRAKEN")
    assert (answer.outcome, answer.body_complete) == (Outcome.ACKNOWLEDGED, True)
