"""A standby takes over from the primary while the product runs."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db.utils import ConnectionHandler
from playwright.sync_api import Browser

from killswitch import several_hosts
from killswitch.runtime.postgresql_kept.base import DatabaseWrapper
from killswitch.simulator.server import Simulator
from tests.conftest import wait_for
from tests.faults.outages import TIMES, SystemOnPostgreSQL
from tests.faults.test_outages import cancel, journal
from tests.postgresql import InstalledServer
from tests.supervision.system_process import System
from tests.system.test_end_to_end import sign_in

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def primary() -> Iterator[InstalledServer]:
    server = InstalledServer()
    yield server
    server.delete()


@pytest.fixture(scope="module")
def standby(primary: InstalledServer) -> Iterator[InstalledServer]:
    server = InstalledServer(primary=primary)
    yield server
    server.delete()


class SystemOnTwoServers(SystemOnPostgreSQL):
    """A whole system whose URL names a standby first, and then the primary."""

    def __init__(self, home: Path, *, primary: InstalledServer, standby: InstalledServer) -> None:
        System.__init__(self, home)
        self.server = primary
        self.ems = Simulator()
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        self.environment |= TIMES | {
            "DATABASE_URL": f"postgresql://postgres:hunter22@{hosts}/postgres",
            "KILLSWITCH_EXCHANGES": "BINANCE KRAKEN",
            "SECRET_KEY": "only for this test, and as long as a real one has to be",
        }


def test_cancels_are_recorded_by_the_same_processes_after_a_failover(
    tmp_path: Path, browser: Browser, primary: InstalledServer, standby: InstalledServer
) -> None:
    with SystemOnTwoServers(tmp_path, primary=primary, standby=standby) as system:
        system.wait_until_it_serves()
        before = system.main_processes()
        workers = {process.pid for process in system.web_workers()}
        page = browser.new_page()
        sign_in(page, system, "olga")
        cancel(page, "BINANCE")
        page.goto(page.url)
        primary.stop()
        standby.promote()
        system.server = standby
        page.goto(page.url)
        cancel(page, "KRAKEN")
        page.close()
        statuses = "SELECT exchange_id, status FROM cancels_cancelrequest ORDER BY id"
        wanted = [("BINANCE", "CONFIRMED"), ("KRAKEN", "CONFIRMED")]
        wait_for(lambda: system.select(statuses) == wanted, seconds=30)
        assert journal(system) == [], "the second one was recorded at once, not by break glass"
        assert system.main_processes() == before
        assert {process.pid for process in system.web_workers()} == workers
        verified = system.manage("verify_audit")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "hunter22" not in system.output()


def database(*addresses: str) -> DatabaseWrapper:
    """Return how the product connects to these servers."""
    url = f"postgresql://postgres@{','.join(addresses)}/postgres"
    settings = several_hosts.database(url) | {"ENGINE": "killswitch.runtime.postgresql_kept"}
    settings["OPTIONS"] |= {"connect_timeout": 2}
    wrapper = ConnectionHandler({"default": settings})["default"]
    assert isinstance(wrapper, DatabaseWrapper)
    return wrapper


def connect(own: DatabaseWrapper) -> Any:
    """Return a connection of the driver; the product would keep it."""
    return own.open_connection(own.get_connection_params())


def test_a_server_that_hangs_is_asked_once_and_not_by_each_new_connection(
    monkeypatch: pytest.MonkeyPatch, primary: InstalledServer
) -> None:
    monkeypatch.setattr(DatabaseWrapper, "_last_address", ("", ""))
    primary.stop()
    primary.start()
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    accepted.append(silent.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        own = database(f"127.0.0.1:{silent.getsockname()[1]}", f"127.0.0.1:{primary.port}")
        asked = []
        for _ in range(3):
            connect(own).close()
            asked.append(len(accepted))
    for client in accepted:
        client.close()
    assert asked == [asked[0]] * 3
    assert asked[0] > 0


def test_a_standby_alone_is_refused(primary: InstalledServer) -> None:
    standby = InstalledServer(primary=primary)
    try:
        with pytest.raises(psycopg.OperationalError, match="read-only"):
            connect(database(*[f"127.0.0.1:{standby.port}"] * 2))
    finally:
        standby.delete()
