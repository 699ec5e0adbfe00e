"""A whole system, started as a person does it: `manage.py up` with its own data and ports."""

import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import redis
import requests
from django.conf import settings

from tests.conftest import wait_for

MANAGE = str(settings.BASE_DIR / "manage.py")
NOT_INHERITED = re.compile(
    r"^(KILLSWITCH_|EMS_|DATABASE_|REDIS_|SECRET_KEY|PORT$|HOST$|ALERT_|ARCHIVE_|AUDIT_SIGNING_)"
)
# Part of the command line of each process of the demo.
ROLES = {
    "redis": "redis-server",
    "simulator": "manage.py ems_simulator",
    "web": "-m granian",
    "worker": "-m celery",
    "watchdog": "manage.py watchdog",
    "observer": "manage.py observe",
}


# What a form has to send back.
FIELD = re.compile(r'name="(csrfmiddlewaretoken|key)" value="([^"]+)"')


def fields(session: requests.Session, address: str) -> dict[str, str]:
    """Return what the form of a page has to send back."""
    return dict(FIELD.findall(session.get(address, timeout=60).text))


def environment(**variables: str) -> dict[str, str]:
    """Return variables for a new process, without the settings of the tests themselves."""
    inherited = {name: value for name, value in os.environ.items() if not NOT_INHERITED.match(name)}
    return inherited | {"DJANGO_SETTINGS_MODULE": "killswitch.settings"} | variables


def free_ports(count: int) -> list[str]:
    """Return different ports that are free at this moment."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class System:
    """One run of `manage.py up` in demo mode; `only` names its programs, instead of all."""

    def __init__(self, home: Path, *, only: str = "") -> None:
        self.home = home
        self.command = [sys.executable, MANAGE, "up", *(["--only", only] if only else [])]
        self.port, simulator_port = free_ports(2)
        self.simulator_port = int(simulator_port)
        self.environment = environment(
            KILLSWITCH_HOME=str(home), PORT=self.port, SIMULATOR_PORT=simulator_port
        )
        self.log = home / "up.txt"

    @property
    def roles(self) -> set[str]:
        """Return the programs that it runs: with an EMS of its own, no simulator."""
        return set(ROLES) - ({"simulator"} if "EMS_BASE_URL" in self.environment else set())

    def prepare(self) -> None:
        """Create the database and the demo's users, which a start of all programs does itself."""
        subprocess.run(
            [sys.executable, MANAGE, "prepare"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=120,
        )

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command of this system."""
        return subprocess.run(
            [sys.executable, MANAGE, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def __enter__(self) -> "System":
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.root = psutil.Process(self.process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        # A test that fails because a process was left behind must not leave it behind as well.
        for process in psutil.process_iter():
            if belongs_to(process, home=self.home):
                process.kill()

    def wait_until_it_serves(self) -> None:
        wait_for(lambda: self.process.poll() is not None or self.serves(), seconds=180)
        assert self.process.poll() is None, self.output()
        wait_for(lambda: self.roles == set(self.main_processes()), seconds=30)

    def descendants(self) -> list[psutil.Process]:
        try:
            return self.root.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def main_processes(self) -> dict[str, psutil.Process]:
        """Return the direct child of `up` for each role, once it has become its program."""
        try:
            children = self.root.children()
        except psutil.NoSuchProcess:
            return {}
        lines = {child: command_line(child) for child in children}
        return {
            role: child
            for child, line in lines.items()
            for role, part in ROLES.items()
            if part in line
        }

    def web_workers(self) -> list[psutil.Process]:
        web = self.main_processes().get("web")
        return web.children() if web else []

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def serves(self) -> bool:
        return answers(port=int(self.port), path="/healthz")

    def simulator_serves(self) -> bool:
        return answers(port=self.simulator_port, path="/v1/orders")

    def redis_serves(self) -> bool:
        try:
            with self._redis() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def waiting_at_the_queue(self) -> set[str]:
        """Return Redis's ids, which are never reused, of the clients that wait for a message."""
        try:
            with self._redis() as client:
                return {entry["id"] for entry in client.client_list() if entry["cmd"] == "brpop"}
        except redis.RedisError:
            return set()

    def _redis(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.home / "redis.sock"), socket_timeout=1)

    def processor_seconds(self) -> float:
        """Return the processor time that all its processes have used."""
        times = [process.cpu_times() for process in (self.root, *self.descendants())]
        return sum(
            used.user + used.system + used.children_user + used.children_system for used in times
        )

    def beats(self, kind: str) -> int:
        """Return the number of heartbeats of this kind of process."""
        rows = self.select("SELECT beats FROM readiness_heart WHERE kind = ?", kind.upper())
        return int(rows[0][0]) if rows else 0

    def events(self) -> list[tuple[str, str]]:
        """Return kind and data of each event of the audit log."""
        return self.select("SELECT kind, data FROM audit_auditevent ORDER BY seq")

    def select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.home / "killswitch.sqlite3")) as database:
            return list(database.execute(query, values))

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send the signal, wait for the end, and return the seconds it took."""
        began_at = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return time.monotonic() - began_at


def answers(*, port: int, path: str) -> bool:
    """Return whether that page is served at this moment."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def belongs_to(process: psutil.Process, *, home: Path) -> bool:
    try:
        # Redis writes its title over its environment, so its command line has to identify it.
        is_named = str(home) in command_line(process)
        return is_named or process.environ().get("KILLSWITCH_HOME") == str(home)
    except psutil.Error:
        return False


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that still run; a zombie has ended."""
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]
