"""Answers are delivered late, dripped, broken off or never, and only HTTP requests are read."""

import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import (
    cancel_all,
    cancel_request,
    connect,
    eventually,
    list_request,
    open_orders,
    read_to_end,
    send_request,
)

_BOTH = pytest.mark.parametrize("carried_out", [True, False])


def _expect(simulator: Simulator, *, carried_out: bool) -> None:
    assert [call.carried_out for call in simulator.calls("KRAKEN")] == [carried_out]
    eventually(lambda: simulator.really_open("KRAKEN") == (0 if carried_out else 5))


@_BOTH
def test_a_silent_exchange_never_answers(simulator: Simulator, carried_out: bool) -> None:
    fault = {"fault": "silent", "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    raw = read_to_end(simulator, cancel_request("KRAKEN"), timeout_s=0.25)
    assert (raw.data, raw.end) == (b"", "silent")
    _expect(simulator, carried_out=carried_out)


@_BOTH
def test_a_slow_exchange_acts_at_once_and_answers_late(
    simulator: Simulator, carried_out: bool
) -> None:
    fault = {"fault": "slow", "seconds": 0.4, "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    started_at = time.monotonic()
    thread = threading.Thread(target=cancel_all, args=(simulator, "KRAKEN"))
    thread.start()
    eventually(lambda: simulator.calls("KRAKEN"))
    _expect(simulator, carried_out=carried_out)
    assert thread.is_alive()
    thread.join()
    assert time.monotonic() - started_at >= 0.4


@_BOTH
@pytest.mark.parametrize("part", ["status", "headers", "body"])
def test_a_drip_sends_one_part_byte_by_byte(
    simulator: Simulator, part: str, carried_out: bool
) -> None:
    fault = {"fault": "drip", "part": part, "interval": 0.01, "carried_out": carried_out}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    raw = read_to_end(simulator, cancel_request("KRAKEN"), timeout_s=0.2)
    assert raw.data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert raw.data.endswith(b'"message": "Ok"}')
    assert raw.pieces >= 4  # a busy machine reads several at once
    _expect(simulator, carried_out=carried_out)


@_BOTH
@pytest.mark.parametrize(
    ("fault", "end"), [("close", "closed"), ("reset", "reset"), ("half_body", "closed")]
)
def test_an_answer_may_break_off(
    simulator: Simulator, fault: str, end: str, carried_out: bool
) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": fault, "carried_out": carried_out}], orders=5)
    raw = read_to_end(simulator, cancel_request("KRAKEN"))
    assert raw.end == end
    assert bool(raw.data) is (fault == "half_body")
    _expect(simulator, carried_out=carried_out)


def test_half_a_body_is_shorter_than_its_content_length(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["half_body"])
    head, _, body = read_to_end(simulator, cancel_request("KRAKEN")).data.partition(b"\r\n\r\n")
    content_length = int(head.rpartition(b"Content-Length: ")[2])
    assert 0 < len(body) == content_length // 2


def test_a_reset_before_reading_cancels_no_order(simulator: Simulator) -> None:
    fault = {"fault": "reset", "when": "before_reading"}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    raw = read_to_end(simulator, cancel_request("KRAKEN"))
    assert (raw.data, raw.end) == (b"", "reset")
    _expect(simulator, carried_out=False)


def test_a_reset_in_the_middle_of_an_answer_comes_after_its_first_half(
    simulator: Simulator,
) -> None:
    fault = {"fault": "reset", "when": "mid_answer", "carried_out": True}
    simulator.script("KRAKEN", cancel=[fault], orders=5)
    raw = read_to_end(simulator, cancel_request("KRAKEN"))
    assert raw.end == "reset"
    assert not raw.data.endswith(b'"message": "Ok"}')
    _expect(simulator, carried_out=True)


@pytest.mark.parametrize(
    ("fault", "end"),
    [("silent", "silent"), ("half_body", "closed"), ("reset", "reset"), ("close", "closed")],
)
def test_a_list_breaks_in_the_same_ways(simulator: Simulator, fault: str, end: str) -> None:
    simulator.script("KRAKEN", list=[fault], orders=3)
    assert read_to_end(simulator, list_request("KRAKEN"), timeout_s=0.3).end == end
    assert len(open_orders(simulator, "KRAKEN").json) == 3


def test_an_endless_answer_never_stops(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=["endless"])
    with connect(simulator) as sock:
        sock.sendall(cancel_request("KRAKEN"))
        total = 0
        while total < 20_000_000:
            size = len(sock.recv(1 << 20))
            assert size
            total += size


def test_a_connection_is_kept_for_the_next_request(simulator: Simulator) -> None:
    with connect(simulator, timeout=2) as sock:
        for number in range(1, 4):
            sock.sendall(cancel_request("KRAKEN"))
            assert sock.recv(65536).endswith(b'"message": "Ok"}')
            assert len(simulator.calls("KRAKEN")) == number


def test_two_requests_at_once_on_one_connection_are_both_answered(simulator: Simulator) -> None:
    raw = read_to_end(simulator, cancel_request("A") + cancel_request("B"), timeout_s=0.3)
    assert raw.data.count(b"HTTP/1.1 200 OK") == 2


def test_a_request_may_close_its_connection(simulator: Simulator) -> None:
    request = b"GET /v1/orders HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert read_to_end(simulator, request).end == "closed"


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
def test_bytes_that_are_not_a_request_are_answered_400_and_closed(
    simulator: Simulator, request_bytes: bytes
) -> None:
    raw = read_to_end(simulator, request_bytes)
    assert raw.data.startswith(b"HTTP/1.1 400")
    assert raw.end in {"closed", "reset"}
    assert send_request(simulator, method="GET", path="/_simulator/health").status == 200


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(noise=st.binary(max_size=300))
def test_no_bytes_stop_the_simulator(simulator: Simulator, noise: bytes) -> None:
    with connect(simulator) as sock:
        sock.sendall(noise + b"\r\n\r\n")
    assert send_request(simulator, method="GET", path="/_simulator/health").status == 200
