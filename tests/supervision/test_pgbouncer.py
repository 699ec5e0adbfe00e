"""A real PgBouncer between the product and PostgreSQL, with one pool of each mode."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from killswitch.simulator.server import Simulator
from tests.conftest import wait_for
from tests.postgresql import InstalledServer
from tests.supervision.system_process import MANAGE, System, environment, free_ports
from tools import programs

pytestmark = pytest.mark.timeout(180)


class PgBouncer:
    """Passes on to one server; it has the pools `session` and `transaction`."""

    def __init__(self, server: InstalledServer) -> None:
        executable = programs.PGBOUNCER.find()
        assert executable, "no PgBouncer on this machine; `make test` provides one"
        (port,) = free_ports(1)
        self.port = int(port)
        target = f"host=127.0.0.1 port={server.port} dbname=postgres"
        users, configuration = server.home / "users.txt", server.home / "pgbouncer.ini"
        users.write_text('"postgres" ""\n')
        configuration.write_text(
            f"""
[databases]
session = {target} pool_mode=session pool_size=60
transaction = {target} pool_mode=transaction pool_size=3
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
admin_users = postgres
query_wait_timeout = 10
"""
        )
        self.process = subprocess.Popen(
            [executable, str(configuration)],
            user="postgres" if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._serves, seconds=20)

    def url(self, pool: str, *, query: str = "?options=") -> str:
        return f"postgresql://postgres:hunter22@127.0.0.1:{self.port}/{pool}{query}"

    def reconnect(self) -> None:
        """Let new sessions of the server begin, which have the settings of the role."""
        with psycopg.connect(self.url("pgbouncer"), autocommit=True) as administrator:
            administrator.cursor(binary=False).execute(b"RECONNECT")

    def _serves(self) -> bool:
        try:
            psycopg.connect(self.url("session")).close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="module")
def server() -> Iterator[InstalledServer]:
    server = InstalledServer()
    server.execute("ALTER SYSTEM SET TimeZone = 'Europe/Zurich'", "SELECT pg_reload_conf()")
    yield server
    server.delete()


@pytest.fixture(scope="module")
def pgbouncer(server: InstalledServer) -> Iterator[PgBouncer]:
    pgbouncer = PgBouncer(server)
    yield pgbouncer
    pgbouncer.process.kill()
    pgbouncer.process.wait()


@pytest.fixture(scope="module")
def ems() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def manage(url: str, *arguments: str, home: Path, ems: Simulator) -> tuple[int, str]:
    """Run a command, and return its exit code and all that it wrote."""
    process = subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env=variables(url, home=home, ems=ems),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    output = process.stdout + process.stderr
    assert "hunter22" not in output
    return process.returncode, output


def variables(url: str, *, home: Path, ems: Simulator) -> dict[str, str]:
    return environment(
        KILLSWITCH_HOME=str(home),
        DATABASE_URL=url,
        EMS_BASE_URL=ems.url,
        KILLSWITCH_EXCHANGES="BINANCE KRAKEN",
        SECRET_KEY="only for this test, and as long as a real one has to be",
    )


def test_a_session_pool_works_and_the_start_says_which_statements_are_missing(
    tmp_path: Path, server: InstalledServer, pgbouncer: PgBouncer, ems: Simulator
) -> None:
    refused = manage(pgbouncer.url("session", query=""), "prepare", home=tmp_path, ems=ems)
    assert refused[0] == 2
    assert "add options= to DATABASE_URL" in refused[1]
    url = pgbouncer.url("session")
    code, output = manage(url, "prepare", home=tmp_path, ems=ems)
    assert code == 0, output
    assert "lock_timeout is off in the database" in output
    assert "TimeZone is Europe/Zurich in the database" in output
    statements = re.findall(r"ALTER ROLE CURRENT_USER SET \w+ = '\w+'", output)
    assert len(statements) == 3
    server.execute(*statements)
    pgbouncer.reconnect()
    code, output = manage(url, "prepare", home=tmp_path, ems=ems)
    assert code == 0, output
    assert "configuration_warning" not in output
    ems.place("KRAKEN", 3)
    code, output = manage(url, "cancel_all", "KRAKEN", "--reason", "drill", home=tmp_path, ems=ems)
    assert code == 0, output
    assert not ems.open_ids("KRAKEN")


def test_cancels_go_through_a_pool_that_shares_sessions_but_nothing_is_prepared_there(
    tmp_path: Path, server: InstalledServer, pgbouncer: PgBouncer, ems: Simulator
) -> None:
    code, output = manage(server.get_uri(), "prepare", home=tmp_path, ems=ems)
    assert code == 0, output
    code, output = manage(pgbouncer.url("transaction"), "prepare", home=tmp_path, ems=ems)
    assert code == 2
    assert "pool_mode = transaction), in which it cannot be prepared" in output
    variables_of_pool = variables(pgbouncer.url("transaction"), home=tmp_path, ems=ems)
    system = System(tmp_path, only="web,worker,watchdog,observer,redis")
    system.environment |= variables_of_pool
    for name in ("BINANCE", "KRAKEN"):
        ems.place(name, 3)
    with system:
        wait_for(
            lambda: system.serves() and set(system.main_processes()) == system.roles, seconds=90
        )
        everywhere = ("cancel_all", "--all", "--reason", "drill")
        code, output = manage(pgbouncer.url("transaction"), *everywhere, home=tmp_path, ems=ems)
        assert code == 0, output
        lists = [ems.open_ids(name) for name in ("BINANCE", "KRAKEN")]
        assert lists == [[], []]
        wait_for(lambda: len(beating(server)) == 3, seconds=30)
        code, output = manage(pgbouncer.url("transaction"), "verify_audit", home=tmp_path, ems=ems)
        assert code == 0, output
        assert "Traceback" not in system.output()


def beating(server: InstalledServer) -> set[str]:
    """Return the kinds of processes that have sent several heartbeats."""
    with psycopg.connect(server.get_uri()) as database:
        rows = database.execute(
            "SELECT kind FROM readiness_heart WHERE beats > 2 AND kind <> 'WEB'"
        )
        return {kind for (kind,) in rows}
