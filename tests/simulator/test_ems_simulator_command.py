"""`manage.py ems_simulator` runs alone, prints its address, and ends at a signal."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulator.raw_clients import (
    cancel_all,
    cancel_request,
    connect,
    eventually,
    send_request,
)
from tests.simulator.remote import SimulatorRemote

_MANAGE = Path(__file__).parents[2] / "manage.py"
_SETTINGS = "tests.simulator.bare_settings"


def _command(*arguments: str, key: str = "") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, _MANAGE, "ems_simulator", "--settings", _SETTINGS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "EMS_SIMULATOR_KEY": key},
    )


@contextmanager
def _running(
    *arguments: str, key: str = ""
) -> Iterator[tuple[SimulatorRemote, "subprocess.Popen[str]"]]:
    with _command("--port", "0", *arguments, key=key) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("EMS simulator: http://127.0.0.1:")
            yield SimulatorRemote(line.split()[-1]), process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_promptly_even_with_silent_connections(
    number: signal.Signals,
) -> None:
    with _running("--demo") as (simulator, process):
        silent = [connect(simulator) for _ in range(20)]
        for client in silent:
            client.sendall(cancel_request("BITMEX/SILENT"))
        eventually(lambda: len(simulator.calls("BITMEX/SILENT")) == 20)
        process.send_signal(number)
        assert process.wait(15) == 0
        for client in silent:
            client.close()


def test_it_serves_512_connections_of_which_150_are_silent() -> None:
    with _running() as (simulator, _):
        simulator.script("BITMEX", cancel=[{"fault": "silent", "repeat": True}])
        clients = [connect(simulator) for _ in range(512)]
        for number, client in enumerate(clients):
            client.sendall(cancel_request("BITMEX" if number < 150 else "KRAKEN"))
        for client in clients[150:]:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK")
        eventually(lambda: len(simulator.calls("BITMEX")) == 150)
        assert len(simulator.calls("KRAKEN")) == 362
        for client in clients:
            client.close()


def test_the_key_comes_from_the_environment_or_the_command_line() -> None:
    with _running(key="from-outside") as (simulator, _):
        assert cancel_all(simulator, "KRAKEN").status == 401
        right = {"X-CoinAPI-Key": "from-outside"}
        assert cancel_all(simulator, "KRAKEN", headers=right).status == 200
    with _running("--key", "typed", key="from-outside") as (simulator, _):
        assert cancel_all(simulator, "KRAKEN", headers=right).status == 401


def test_a_taken_port_is_one_clear_sentence() -> None:
    with _running() as (simulator, _):
        port = simulator.url.rpartition(":")[2]
        with _command("--port", port) as second:
            _, errors = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in errors
        assert "Traceback" not in errors
        assert send_request(simulator, method="GET", path="/_simulator/health").status == 200
