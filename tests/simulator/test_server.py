"""The server starts, serves many connections, and leaves no thread or socket behind."""

import gc
import socket
import threading
import time

import pytest

from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import (
    cancel_all,
    cancel_request,
    connect,
    eventually,
    open_orders,
    send_request,
)


def _simulator_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "simulator" in thread.name]


def _seconds_to_stop_while_busy() -> float:
    simulator = Simulator(demo=True).start()
    simulator.script("KRAKEN", cancel=["silent"] * 30 + [{"fault": "drip", "interval": 60}])
    simulator.script("BINANCE", cancel=[{"fault": "slow", "seconds": 60}])
    simulator.script("BITMEX", cancel=["endless"])
    busy = ["KRAKEN"] * 31 + ["BINANCE", "BITMEX"]
    clients = [connect(simulator) for _ in range(38)]
    for client, exchange_id in zip(clients, busy, strict=False):
        client.sendall(cancel_request(exchange_id))
    eventually(lambda: len(simulator.calls()) == 33)
    started_at = time.monotonic()
    simulator.stop()
    elapsed_s = time.monotonic() - started_at
    with pytest.raises(ConnectionRefusedError):
        connect(simulator)
    for client in clients:
        client.close()
    return elapsed_s


def test_stop_leaves_no_thread_and_no_socket_though_silent_connections_are_open() -> None:
    assert _seconds_to_stop_while_busy() < 5
    assert _simulator_threads() == []
    gc.collect()  # a socket that was left open would warn here, and a warning fails the test


def test_a_simulator_starts_again_on_its_port_with_its_orders() -> None:
    with Simulator() as simulator:
        simulator.place("KRAKEN", 3)
        url = simulator.url
        connection = connect(simulator)
        simulator.stop()
        simulator.start(int(url.rpartition(":")[2]))
        assert simulator.url == url
        assert len(open_orders(simulator, "KRAKEN").json) == 3
        connection.close()


def test_a_port_that_is_taken_is_an_error() -> None:
    with Simulator() as simulator, pytest.raises(OSError, match="in use"):
        Simulator().start(int(simulator.url.rpartition(":")[2]))


def test_150_silent_connections_do_not_hold_up_a_cancel(simulator: Simulator) -> None:
    simulator.script("BITMEX", cancel=[{"fault": "silent", "repeat": True}])
    silent = [connect(simulator) for _ in range(150)]
    for client in silent:
        client.sendall(cancel_request("BITMEX"))
    eventually(lambda: len(simulator.calls("BITMEX")) == 150)
    started_at = time.monotonic()
    assert cancel_all(simulator, "KRAKEN").status == 200
    assert time.monotonic() - started_at < 20
    for client in silent:
        client.close()
    eventually(lambda: len(_simulator_threads()) < 10)


def test_twenty_thousand_orders_are_listed_and_cancelled_in_reasonable_time(
    simulator: Simulator,
) -> None:
    started_at = time.monotonic()
    simulator.place("KRAKEN", 20_000)
    rows = open_orders(simulator, "KRAKEN").json
    assert len({row["client_order_id"] for row in rows}) == 20_000
    assert time.monotonic() - started_at < 60  # a second on an idle machine
    cancel_all(simulator, "KRAKEN")
    eventually(lambda: simulator.really_open("KRAKEN") == 0)


def test_a_forgotten_connection_is_not_answered_and_not_closed(simulator: Simulator) -> None:
    with connect(simulator, timeout=0.3) as lost:
        lost.sendall(cancel_request("KRAKEN"))
        assert lost.recv(65536)
        assert simulator.forget_connections() == 1
        lost.sendall(cancel_request("KRAKEN"))
        with pytest.raises(TimeoutError):
            lost.recv(65536)
        assert len(simulator.calls("KRAKEN")) == 1
        assert cancel_all(simulator, "KRAKEN").status == 200


def test_reset_forgets_orders_scripts_and_calls(simulator: Simulator) -> None:
    simulator.script("KRAKEN", cancel=[{"fault": "forbidden", "repeat": True}], orders=3)
    cancel_all(simulator, "KRAKEN")
    simulator.reset()
    assert simulator.really_open("KRAKEN") == 0
    assert simulator.calls() == []
    assert cancel_all(simulator, "KRAKEN").status == 200
    assert [call.seq for call in simulator.calls()] == [1]


def test_without_a_demonstration_the_books_are_empty_and_still(simulator: Simulator) -> None:
    assert send_request(simulator, method="GET", path="/_simulator/health").json == {
        "ready": True,
        "exchanges": 0,
        "open_orders": 0,
        "calls": 0,
    }
    assert "simulator-trader" not in _simulator_threads()


def test_an_interrupted_client_costs_no_thread(simulator: Simulator) -> None:
    for _ in range(20):
        client = connect(simulator)
        client.sendall(b"POST /v1/orders/cancel/all HTTP/1.1\r\nContent-Le")
        client.shutdown(socket.SHUT_RDWR)
        client.close()
    eventually(lambda: _simulator_threads().count("simulator-connection") == 0)
