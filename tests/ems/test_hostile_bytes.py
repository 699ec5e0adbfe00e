"""Any bytes in place of an answer: the call ends in time, and neither raises nor acknowledges."""

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


class Payload:
    data = b""


@pytest.fixture(scope="module")
def payload() -> Payload:
    return Payload()


@pytest.fixture(scope="module")
def server(payload: Payload) -> Iterator[Server]:
    def script(connection: Connection) -> None:
        connection.read_request()
        connection.send(payload.data)

    with serving(script) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[EmsClient]:
    # Long enough for a machine that stalls for a moment before the call has left.
    client = EmsClient(base_url=server.url, timeout=2)
    yield client
    client.close()


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(head=HEADS, rest=st.binary(max_size=60))
def test_no_bytes_raise_hang_or_acknowledge(
    head: bytes, rest: bytes, client: EmsClient, payload: Payload
) -> None:
    payload.data = head + rest
    answer = client.cancel_all("KRAKEN")
    assert answer.outcome in (Outcome.UNKNOWN, Outcome.REJECTED)
    assert answer.duration_ms < 6000
    (answer.transport_error + answer.message).encode()
    assert "\x00" not in answer.transport_error


def test_an_acknowledgement_through_the_same_server_is_one(
    client: EmsClient, payload: Payload
) -> None:
    payload.data = response(200, ACKNOWLEDGED)
    assert client.cancel_all("KRAKEN").outcome is Outcome.ACKNOWLEDGED
