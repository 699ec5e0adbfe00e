"""Any bytes in place of an answer: the call ends in time, raises nothing and claims nothing."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from killswitch.ems.answers import Outcome
from killswitch.ems.client import EmsClient
from tests.ems.servers import ACKNOWLEDGED, Connection, Server, response, serving

HEADS = st.sampled_from(
    [
        b"",
        b"HTTP/1.1 ",
        b"HTTP/1.1 200 X\r\n",
        b"HTTP/1.1 200 X\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 7\r\nContent-Length: 8\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: -7\r\n\r\n",
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 301 X\r\nLocation: ",
        b"HTTP/1.1 200 X\r\nContent-Encoding: gzip\r\nSet-Cookie: ",
        b"HTTP/1.1 200 X\r\nContent-Type: text/plain; charset=",
        b"HTTP/1.1 429 X\r\nRetry-After: ",
        b"HTTP/0.9 200 X\r\n",
    ]
)


class Said:
    data = b""


@pytest.fixture(scope="module")
def said() -> Said:
    return Said()


@pytest.fixture(scope="module")
def server(said: Said) -> Iterator[Server]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(said.data)

    with serving(script) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[EmsClient]:
    # Long enough for a machine that stands still for a moment before the call has left.
    client = EmsClient(base_url=server.url, timeout=2)
    yield client
    client.close()


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(head=HEADS, rest=st.binary(max_size=60))
def test_no_bytes_raise_hang_or_acknowledge(
    head: bytes, rest: bytes, client: EmsClient, said: Said
) -> None:
    said.data = head + rest
    answer = client.cancel_all("KRAKEN")
    assert answer.outcome in (Outcome.UNKNOWN, Outcome.REJECTED)
    assert answer.duration_ms < 3000
    (answer.transport_error + answer.message).encode()
    assert "\x00" not in answer.transport_error


def test_an_acknowledgement_through_the_same_server_is_one(client: EmsClient, said: Said) -> None:
    said.data = response(200, ACKNOWLEDGED)
    assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
