"""A whole system to measure: every process of `manage.py up`, on either database."""

import atexit
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from tests.simulator.remote import SimulatorRemote
    from tests.supervision.system_process import System

TOKEN = re.compile(r'name="(csrfmiddlewaretoken|key)" value="([^"]+)"')
PASSWORD = "a-long-password-for-measuring"
OFFICER, AUDITOR = "olga", "carl"
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True, kw_only=True)
class RunningSystem:
    """Its processes, its EMS, and the browser session of a risk officer."""

    system: "System"
    simulator: "SimulatorRemote"
    session: requests.Session  # of the risk officer
    database_url: str  # "" for SQLite in the data directory

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.system.port}"

    def sign_in(self, name: str) -> requests.Session:
        """Return the browser session of a user."""
        session = requests.Session()
        # The server closes idle connections; this may be the moment of the next GET.
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=1))
        address = f"{self.url}/accounts/login/"
        fields = dict(TOKEN.findall(session.get(address).text))
        fields |= {"login": name, "password": PASSWORD}
        reply = session.post(address, data=fields, allow_redirects=False)
        assert reply.status_code == 302, reply.text
        return session

    def select(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the system's database."""
        if not self.database_url:
            return self.system.select(query)
        import psycopg

        with psycopg.connect(self.database_url) as connection:
            return list(connection.execute(query))


@contextmanager
def running_system(
    database: str, *, exchanges: list[str], events: int = 0
) -> Iterator[RunningSystem]:
    """Start everything in a new data directory, with so long a log, and sign a risk officer in."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        os.environ |= {
            "KILLSWITCH_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        }
        database_url = start_postgresql(home) if database == "postgresql" else ""
        if database_url:  # for what this process itself writes and reads
            os.environ |= {
                "DATABASE_URL": database_url,
                "EMS_BASE_URL": "http://127.0.0.1:9",
                "SECRET_KEY": "only-for-measuring",
            }
        import django

        django.setup()
        if events:
            _load_log(home, events)
        from tests.simulator.remote import SimulatorRemote
        from tests.supervision.system_process import MANAGE, System

        system = System(home)
        ems_url = f"http://127.0.0.1:{system.simulator_port}"
        system.environment |= {
            "KILLSWITCH_EXCHANGES": " ".join(exchanges),
            "EMS_BASE_URL": ems_url,
            "SECRET_KEY": "only-for-measuring",
            "KILLSWITCH_PASSWORD": PASSWORD,
            **({"DATABASE_URL": database_url} if database_url else {}),
        }
        command = [sys.executable, MANAGE, "ems_simulator", "--port", str(system.simulator_port)]
        simulator = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        stack.callback(simulator.kill)
        stack.enter_context(system)
        system.wait_until_it_serves()
        for name, role in ((OFFICER, "risk_officer"), (AUDITOR, "compliance")):
            subprocess.run(
                [sys.executable, MANAGE, "add_user", name, "--role", role],
                env=system.environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        running = RunningSystem(
            system=system,
            simulator=SimulatorRemote(ems_url),
            session=requests.Session(),
            database_url=database_url,
        )
        yield replace(running, session=running.sign_in(OFFICER))
        system.stop()


def _load_log(home: Path, events: int) -> None:
    from django.core.management import call_command
    from django.db import connection

    from bench import plausible, tables

    if connection.vendor == "sqlite":
        (home / "killswitch.sqlite3").touch()  # which `prepare` alone creates
    call_command("migrate", verbosity=0)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # this process may have to wait for a processor
            cursor.execute("SET idle_in_transaction_session_timeout = 0")
    plausible.load(events)
    tables.load(after=0)
    connection.close()


def cookie_header(session: requests.Session) -> str:
    """Return the cookies of a session as a client sends them."""
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)


def start_postgresql(home: Path) -> str:
    """Start a server that waits for the disk, as in production, and return its URL."""
    from tests.postgresql import new_server

    server = new_server(home)
    atexit.register(server.cleanup)
    return str(server.get_uri())
