"""How answers travel: late, dripped, broken off, or not at all; and which requests are read."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import (
    ask,
    cancel_all,
    cancel_request,
    connect,
    eventually,
    hear,
    list_request,
    listed,
)

_BOTH = pytest.mark.parametrize("carried_out", [True, False])


def _expect(simulator: Simulator, *, carried_out: bool) -> None:
    assert [call.carried_out for call in simulator.calls("KRAKEN")] == [carried_out]
    eventually(lambda: simulator.really_open("KRAKEN") == (0 if carried_out else 5))


@_BOTH
def test_a_silent_exchange_never_answers(simulator: Simulator, carried_out: bool) -> None:
    fault = {"fault": "silent", "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    heard = hear(simulator, cancel_request("KRAKEN"), patience=0.25)
    assert (heard.data, heard.end) == (b"", "silent")
    _expect(simulator, carried_out=carried_out)


@_BOTH
def test_a_slow_exchange_acts_at_once_and_answers_late(
    simulator: Simulator, carried_out: bool
) -> None:
    fault = {"fault": "slow", "seconds": 0.4, "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    began = time.monotonic()
    asking = threading.Thread(target=cancel_all, args=(simulator, "KRAKEN"))
    asking.start()
    eventually(lambda: simulator.calls("KRAKEN"))
    _expect(simulator, carried_out=carried_out)
    assert asking.is_alive()
    asking.join()
    assert time.monotonic() - began >= 0.4


@_BOTH
@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_a_drip_sends_one_part_byte_by_byte(
    simulator: Simulator, part: str, carried_out: bool
) -> None:
    fault = {"fault": "drip", "part": part, "interval": 0.01, "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    heard = hear(simulator, cancel_request("KRAKEN"), patience=0.2)
    assert heard.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert heard.data.endswith(b'"message": "Ok"}')
    assert heard.pieces >= 4  # a busy machine reads several at once
    _expect(simulator, carried_out=carried_out)


@_BOTH
@pytest.mark.parametrize(
    ("fault", "end"), [("close", "closed"), ("reset", "reset"), ("half_body", "closed")]
)
def test_an_answer_may_break_off(
    simulator: Simulator, fault: str, end: str, carried_out: bool
) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": fault, "carried_out": carried_out}], orders=5)
    heard = hear(simulator, cancel_request("KRAKEN"))
    assert heard.end == end
    assert bool(heard.data) is (fault == "half_body")
    _expect(simulator, carried_out=carried_out)


def test_half_a_body_is_shorter_than_it_was_announced(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["half_body"])
    head, _, body = hear(simulator, cancel_request("KRAKEN")).data.partition(b"\r\n\r\n")
    announced = int(head.rpartition(b"Content-Length: ")[2])
    assert 0 < len(body) == announced // 2


def test_a_reset_before_reading_carries_nothing_out(simulator: Simulator) -> None:
    fault = {"fault": "reset", "when": "before_reading"}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    heard = hear(simulator, cancel_request("KRAKEN"))
    assert (heard.data, heard.end) == (b"", "reset")
    _expect(simulator, carried_out=False)


def test_a_reset_in_mid_answer_comes_after_its_first_half(simulator: Simulator) -> None:
    fault = {"fault": "reset", "when": "mid_answer", "carried_out": True}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    heard = hear(simulator, cancel_request("KRAKEN"))
    assert heard.end == "reset"
    assert not heard.data.endswith(b'"message": "Ok"}')
    _expect(simulator, carried_out=True)


@pytest.mark.parametrize(
    ("fault", "end"),
    [("silent", "silent"), ("half_body", "closed"), ("reset", "reset"), ("close", "closed")],
)
def test_a_list_breaks_in_the_same_ways(simulator: Simulator, fault: str, end: str) -> None:
    simulator.script("KRAKEN", list=[fault], orders=3)
    assert hear(simulator, list_request("KRAKEN"), patience=0.3).end == end
    assert len(listed(simulator, "KRAKEN").json) == 3


def test_an_endless_answer_never_stops(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["endless"])
    with connect(simulator) as sock:
        sock.sendall(cancel_request("KRAKEN"))
        total = 0
        while total < 20_000_000:
            received = len(sock.recv(1 << 20))
            assert received
            total += received


def test_a_connection_is_kept_for_the_next_request(simulator: Simulator) -> None:
    with connect(simulator, timeout=2) as sock:
        for number in range(1, 4):
            sock.sendall(cancel_request("KRAKEN"))
            assert sock.recv(65536).endswith(b'"message": "Ok"}')
            assert len(simulator.calls("KRAKEN")) == number


def test_two_requests_at_once_on_one_connection_are_both_answered(simulator: Simulator) -> None:
    heard = hear(simulator, cancel_request("A") + cancel_request("B"), patience=0.3)
    assert heard.data.count(b"HTTP/1.1 200 OK") == 2


def test_a_request_that_asks_for_it_is_the_last_of_its_connection(simulator: Simulator) -> None:
    request = b"GET /v1/orders HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert hear(simulator, request).end == "closed"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET //[ HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000,
    ],
)
def test_what_is_no_request_is_answered_400_and_closed(
    simulator: Simulator, request_bytes: bytes
) -> None:
    heard = hear(simulator, request_bytes)
    assert heard.data.startswith(b"HTTP/1.1 400")
    assert heard.end in {"closed", "reset"}
    assert ask(simulator, method="GET", path="/_simulator/health").status == 200


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(max_size=300))
def test_no_bytes_stop_the_simulator(simulator: Simulator, noise: bytes) -> None:
    with connect(simulator) as sock:
        sock.sendall(noise + b"\r\n\r\n")
    assert ask(simulator, method="GET", path="/_simulator/health").status == 200
