"""The system under chaos: two hosts that share PostgreSQL, Redis and the EMS."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import requests

from killswitch.simulator.server import Simulator
from tests.conftest import RedisProcess
from tests.postgresql import new_server
from tests.supervision.system_process import System, fields

ROLES = ("web", "worker", "watchdog", "observer")
PASSWORD = "correct-horse-battery-staple"
TIMEOUT_S = 20


class Host(System):
    """One host with all four programs, and an officer's browser on it."""

    session: requests.Session

    def __init__(self, home: Path, **environment: str) -> None:
        home.mkdir()
        super().__init__(home, only=",".join(ROLES))
        self.environment |= environment
        self.session = requests.Session()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def sign_in(self) -> None:
        address = f"{self.url}/accounts/login/"
        person = {"login": "olga", "password": PASSWORD}
        self.session.post(address, data=fields(self.session, address) | person, timeout=TIMEOUT_S)

    def processes(self, role: str) -> list[psutil.Process]:
        """Return the program and its children, none while it is being restarted."""
        main = self.main_processes().get(role)
        if main is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return [main, *main.children(recursive=True)]
        return []


@dataclass
class Installation:
    """Everything that an act can break."""

    hosts: Sequence[Host]
    postgresql: Any
    redis: RedisProcess
    ems: Simulator
    exchange_ids: Sequence[str]
    pks: dict[str, int] = field(default_factory=dict)

    def select(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgresql.get_uri()) as database:
            return database.execute(query.encode()).fetchall()


@contextmanager
def installation(home: Path, *, exchanges: int) -> Iterator[Installation]:
    """Start two hosts, and yield when both serve."""
    exchange_ids = [f"VENUE{number:02}" for number in range(exchanges)]
    with ExitStack() as stack:
        server = new_server(home)
        stack.callback(_stop_postgresql, server)
        redis = stack.enter_context(RedisProcess(home / "redis.sock"))
        ems = stack.enter_context(Simulator())
        variables = {
            "DATABASE_URL": server.get_uri(),
            "REDIS_URL": f"unix://{redis.path}",
            "EMS_BASE_URL": ems.url,
            "EMS_TIMEOUT": "2",
            "CANCEL_DEADLINE": "20",
            "SECRET_KEY": "only for this run, and as long as a real one has to be",
            "KILLSWITCH_EXCHANGES": " ".join(exchange_ids),
            "KILLSWITCH_PASSWORD": PASSWORD,
        }
        hosts = [Host(home / name, **variables) for name in ("host1", "host2")]
        for arguments in (["prepare"], ["add_user", "olga", "--role", "risk_officer"]):
            process = hosts[0].manage(*arguments)
            assert process.returncode == 0, process.stderr
        for host in hosts:
            stack.enter_context(host)
        for host in hosts:
            _wait_until_it_serves(host)
            host.sign_in()
        system = Installation(
            hosts=hosts, postgresql=server, redis=redis, ems=ems, exchange_ids=exchange_ids
        )
        system.pks = dict(system.select("SELECT exchange_id, id FROM exchanges_exchange"))
        yield system


def _wait_until_it_serves(host: Host) -> None:
    for _ in range(600):
        if host.serves() and set(ROLES) == set(host.main_processes()):
            return
        time.sleep(0.1)
    raise SystemExit(f"a host does not start:\n{host.output()}")


def _stop_postgresql(server: Any) -> None:
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        os.kill(server.get_pid(), signal.SIGINT)
