"""`manage.py prepare` and `up --only`, as several hosts with one database use them."""

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.conftest import wait_for
from tests.supervision.system_process import MANAGE, environment

pytestmark = pytest.mark.both_databases


@pytest.fixture
def host(empty_database: str, tmp_path: Path) -> dict[str, str]:
    """Return the environment of one host; hosts may share the data directory."""
    return environment(
        KILLSWITCH_HOME=str(tmp_path / "data"),
        DATABASE_URL=empty_database,
        EMS_BASE_URL="http://127.0.0.1:9",
        SECRET_KEY="only-for-this-test" * 2,
        KILLSWITCH_EXCHANGES="KRAKEN KRAKEN/JOHN",
    )


def select(url: str, query: str) -> list[tuple[Any, ...]]:
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return list(file.execute(query))
    with psycopg.connect(url) as server:
        return list(server.execute(query))


def test_several_hosts_can_prepare_one_database_at_once(
    host: dict[str, str], empty_database: str
) -> None:
    processes = [
        subprocess.Popen([sys.executable, MANAGE, "prepare"], env=host, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=110)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    query = "SELECT exchange_id FROM audit_auditevent WHERE kind = 'EXCHANGE_ADDED' ORDER BY seq"
    assert select(empty_database, query) == [("KRAKEN",), ("KRAKEN/JOHN",)]
    assert select(empty_database, "SELECT count(*) FROM django_cache") == [(0,)]


def test_a_single_program_runs_without_redis_and_records_its_start_and_stop(
    host: dict[str, str], empty_database: str, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, MANAGE, "prepare"], env=host, check=True, timeout=110)
    log = tmp_path / "log.txt"
    with log.open("wb") as output:
        system = subprocess.Popen(
            [sys.executable, MANAGE, "up", "--only", "watchdog"],
            env=host,
            stdout=output,
            stderr=output,
        )
    try:
        beats = "SELECT beats FROM readiness_heart WHERE kind = 'WATCHDOG'"
        wait_for(lambda: select(empty_database, beats) != [], seconds=60)
    finally:
        system.send_signal(signal.SIGTERM)
        assert system.wait(timeout=30) == 0, log.read_text()
    kinds = "SELECT kind FROM audit_auditevent WHERE kind IN ('STARTED', 'STOPPED') ORDER BY seq"
    assert select(empty_database, kinds) == [("STARTED",), ("STOPPED",)]


def test_one_program_prints_the_warnings_of_its_host(host: dict[str, str], tmp_path: Path) -> None:
    assert _prepare(host).returncode == 0
    log = tmp_path / "up.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, MANAGE, "up", "--only", "watchdog"],
            env=host | {"EMS_API_KEY": '"hunter22"'},
            stdout=output,
            stderr=output,
        )
    warning = "EMS_API_KEY begins or ends with a quotation mark"
    try:
        wait_for(lambda: warning in log.read_text(), seconds=60)
    finally:
        process.terminate()
        process.wait()
    assert "hunter22" not in log.read_text()


def test_time_limits_that_are_not_in_force_are_warnings_until_the_role_has_them(
    host: dict[str, str], empty_database: str
) -> None:
    """A pooler that ignores the options of a connection has the same effect as other options."""
    assert _warnings(host) == []
    if connection.vendor == "sqlite":
        return  # it has no such limits
    host |= {"DATABASE_URL": f"{empty_database}&options=-c%20extra_float_digits%3D3"}
    with psycopg.connect(empty_database, autocommit=True) as administrator:
        try:
            administrator.execute("ALTER ROLE postgres SET TimeZone = 'Europe/Berlin'")
            commands = re.findall("ALTER ROLE .*?;", "".join(_warnings(host)))
            assert len(commands) == 3  # the time zone is the third
            for command in commands:
                administrator.execute(command)
            assert _warnings(host) == []
            administrator.execute(commands[0].replace("2s", "60s"))
            assert "lock_timeout is 60000 ms in the database" in "".join(_warnings(host))
        finally:
            administrator.execute("ALTER ROLE postgres RESET ALL")


def _prepare(host: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, MANAGE, "prepare"],
        env=host,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def _warnings(host: dict[str, str]) -> list[str]:
    process = _prepare(host)
    assert process.returncode == 0, process.stderr
    return [line for line in process.stderr.splitlines() if "configuration_warning" in line]
