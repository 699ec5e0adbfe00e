"""A system that cannot start prints one sentence with a hint, and starts no program."""

import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from tests.supervision.system_process import MANAGE, environment, free_ports

REAL = {"EMS_BASE_URL": "http://127.0.0.1:9", "SECRET_KEY": "only-for-this-test" * 2}


def start(*arguments: str, **more: str) -> str:
    """Try to start; return the one line on standard error."""
    process = subprocess.run(
        [sys.executable, MANAGE, "up", *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    assert len(process.stderr.splitlines()) == 1, process.stderr
    return process.stderr


@pytest.mark.parametrize("name", ["PORT", "SIMULATOR_PORT"])
@pytest.mark.parametrize("shares", [False, True])
def test_a_taken_port_is_named(tmp_path: Path, name: str, shares: bool) -> None:
    port, other = free_ports(2)
    ports = {"PORT": other, "SIMULATOR_PORT": other, name: port}
    with socket.socket() as taker:
        if shares:  # as some servers do, which then answer alternately
            taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taker.bind(("127.0.0.1", int(port)))
        taker.listen()
        message = start(KILLSWITCH_HOME=str(tmp_path), **ports)
    assert f"{name}: port {port} on 127.0.0.1 is already in use" in message
    assert not (tmp_path / "killswitch.sqlite3").exists()


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    assert "Check HOST" in start(KILLSWITCH_HOME=str(tmp_path), HOST="192.0.2.1")


def test_a_host_that_is_not_an_address_is_named(tmp_path: Path) -> None:
    assert "HOST='no such host'" in start(KILLSWITCH_HOME=str(tmp_path), HOST="no such host")


def test_a_data_directory_that_cannot_be_created_is_named() -> None:
    assert "KILLSWITCH_HOME" in start(KILLSWITCH_HOME="/dev/null/home")


def test_a_data_directory_too_deep_for_a_socket_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90)
    assert "shorter path" in start(KILLSWITCH_HOME=str(deep), PORT=free_ports(1)[0])


def test_an_unreachable_redis_is_named_without_its_password(tmp_path: Path) -> None:
    port, redis_port = free_ports(2)
    url = f"redis://:hunter22@127.0.0.1:{redis_port}/0"
    message = start(KILLSWITCH_HOME=str(tmp_path), PORT=port, REDIS_URL=url, **REAL)
    assert f"REDIS_URL: the Redis at 127.0.0.1:{redis_port} cannot be reached" in message
    assert "hunter22" not in message


def test_a_redis_that_does_not_answer_is_variables_up_after_seconds(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        message = start(KILLSWITCH_HOME=str(tmp_path), PORT=free_ports(1)[0], REDIS_URL=url, **REAL)
    assert "REDIS_URL" in message


def test_an_unreachable_database_is_named_without_its_password(tmp_path: Path) -> None:
    port, database_port = free_ports(2)
    url = f"postgresql://user:hunter22@127.0.0.1:{database_port}/log"
    message = start(KILLSWITCH_HOME=str(tmp_path), PORT=port, DATABASE_URL=url, **REAL)
    assert (
        f"DATABASE_URL: the database log at 127.0.0.1:{database_port} cannot be reached" in message
    )
    assert "hunter22" not in message


def test_a_pooler_that_refuses_our_time_limits_is_explained(tmp_path: Path) -> None:
    with RefusingPooler() as pooler:
        url = f"postgresql://user:hunter22@127.0.0.1:{pooler.port}/log"
        variables = REAL | {"PORT": free_ports(1)[0], "DATABASE_URL": url}
        message = "no response within 3 seconds"
        while "no response within" in message:  # on a busy machine
            message = start(KILLSWITCH_HOME=str(tmp_path), **variables)
    assert "-c lock_timeout=2s" in pooler.startup_parameters
    assert "ignore_startup_parameters = options" in message
    assert "ALTER ROLE CURRENT_USER SET lock_timeout = '2s'" in message
    assert "ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '3s'" in message
    assert "hunter22" not in message


class RefusingPooler:
    """Refuses every connection in the words of PgBouncer 1.18 (measured)."""

    NEGOTIATIONS = (80877103, 80877104)  # TLS and GSSAPI, which come before the startup message

    def __enter__(self) -> "RefusingPooler":
        self.startup_parameters = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    while self._code(client) in self.NEGOTIATIONS:
                        client.sendall(b"N")
                    fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                    client.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)

    def _code(self, client: socket.socket) -> int:
        length, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
        if length > 8:
            self.startup_parameters = client.recv(length - 8, socket.MSG_WAITALL).decode()
        return int(code)


def test_a_real_database_without_a_real_ems_is_refused(tmp_path: Path) -> None:
    message = start(KILLSWITCH_HOME=str(tmp_path), DATABASE_URL="postgresql://127.0.0.1/log")
    assert "EMS_BASE_URL" in message


def test_a_database_in_memory_is_refused(tmp_path: Path) -> None:
    message = start(KILLSWITCH_HOME=str(tmp_path), DATABASE_URL="sqlite://", **REAL)
    assert "DATABASE_URL names a database in memory" in message


def test_an_exchange_id_that_is_too_long_is_named(tmp_path: Path) -> None:
    message = start(
        KILLSWITCH_HOME=str(tmp_path),
        PORT=free_ports(1)[0],
        KILLSWITCH_EXCHANGES=f"KRAKEN {'X' * 300}",
        **REAL,
    )
    assert "KILLSWITCH_EXCHANGES" in message


def test_an_unknown_program_is_named_with_the_known_ones(tmp_path: Path) -> None:
    message = start("--only", "wep", KILLSWITCH_HOME=str(tmp_path), **REAL)
    assert "--only wep: the programs are redis, web, worker, watchdog, observer" in message


def test_a_single_program_needs_a_prepared_database(tmp_path: Path) -> None:
    message = start("--only", "watchdog", KILLSWITCH_HOME=str(tmp_path), **REAL)
    assert "run `manage.py prepare` once" in message


def test_an_ems_url_that_cannot_be_used_is_named_without_its_password(
    tmp_path: Path,
) -> None:
    url = "http://user:hunter22@127.0.0.1:9"
    variables = REAL | {"PORT": free_ports(1)[0], "EMS_BASE_URL": url}
    message = start(KILLSWITCH_HOME=str(tmp_path), **variables)
    assert "EMS_BASE_URL must have no user" in message
    assert "hunter22" not in message


@pytest.mark.parametrize("command", [["verify_audit"], ["cancel_all", "--all"]])
def test_a_command_that_cannot_start_reports_neither_a_bad_log_nor_an_unfinished_kill(
    tmp_path: Path, command: list[str]
) -> None:
    process = subprocess.run(
        [sys.executable, MANAGE, *command],
        env=environment(KILLSWITCH_HOME=str(tmp_path), PORT="no port"),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("killswitch cannot start: PORT=")
