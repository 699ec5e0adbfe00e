"""Systems whose disk, database or Redis a test takes away and gives back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from killswitch.simulator.server import Simulator
from tests import postgresql
from tests.conftest import wait_for
from tests.supervision.system_process import MANAGE, System, alive

DISK_MB = 32
# A mount namespace of its own: only this system sees the disk, which goes away with it.
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
ON_A_DISK = f'mount -t tmpfs -o size={DISK_MB}m,mode=700 disk "$KILLSWITCH_HOME" && exec "$@"'
SELECT = """
import json, sqlite3, sys
path, query, *values = sys.argv[1:]
print(json.dumps(list(sqlite3.connect(path).execute(query, values))))
"""
PASSWORD = "correct-horse-battery-staple"
TIMES = {"EMS_TIMEOUT": "2", "CANCEL_DEADLINE": "12", "DATABASE_URL": ""}


class SystemOnADisk(System):
    """A whole system whose data directory is a small disk in memory."""

    def __init__(self, home: Path, **environment: str) -> None:
        super().__init__(home)
        self.environment |= TIMES | environment
        self.mount_point = home
        self.command = [*UNSHARE, "sh", "-c", ON_A_DISK, "sh", *self.command]

    def __enter__(self) -> "SystemOnADisk":
        super().__enter__()
        # How this test sees the disk, which is mounted for the system alone.
        self.home = Path(f"/proc/{self.process.pid}/root{self.mount_point}")
        return self

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command that sees the same disk."""
        namespaces = [
            "--mount",
            *([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]),
        ]
        return subprocess.run(
            ["nsenter", "--target", str(self.process.pid), *namespaces, "--", *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    def select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        # In its namespace: SQLite follows the link to the root directory to where it leads here.
        path = self.mount_point / "killswitch.sqlite3"
        process = self.run(sys.executable, "-c", SELECT, str(path), query, *values)
        assert process.returncode == 0, process.stderr
        return [tuple(row) for row in json.loads(process.stdout)]

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command of this system."""
        return self.run(sys.executable, MANAGE, *arguments)


class SystemOnPostgreSQL(System):
    """A whole system with a PostgreSQL server of its own, and an EMS with two exchanges."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.server = postgresql.new_server(home)
        self.ems = Simulator()
        self.environment |= TIMES | {
            "DATABASE_URL": self.server.get_uri(),
            "KILLSWITCH_EXCHANGES": "BINANCE KRAKEN",
            "SECRET_KEY": "only for this test, and as long as a real one has to be",
        }

    def __enter__(self) -> "SystemOnPostgreSQL":
        self.prepare_all()
        super().__enter__()
        return self

    def prepare_all(self) -> None:
        """Do what precedes the first start."""
        self.ems.__enter__()
        for name in ("BINANCE", "KRAKEN"):
            self.ems.place(name, 5)
        self.environment["EMS_BASE_URL"] = self.ems.url
        self.manage("prepare")
        # In the same file as the people of a demo.
        (self.home / "demo-people.txt").write_text(f"olga {PASSWORD}\n")
        self.environment["KILLSWITCH_PASSWORD"] = PASSWORD
        added = self.manage("add_user", "olga", "--role", "risk_officer")
        assert added.returncode == 0, added.stderr

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self.ems.__exit__()
        with suppress(psutil.NoSuchProcess):  # a test that failed may have left it stopped
            stop_server(self.server)

    def select(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.get_uri()) as database:
            return database.execute(query.encode(), values).fetchall()


@contextmanager
def database_removed(system: SystemOnADisk) -> Iterator[None]:
    # The database without its newest pages would be another one.
    names = sorted((path.name for path in system.home.glob("killswitch.sqlite3*")), key=len)
    for name in names:
        (system.home / name).rename(system.home / f"away-{name}")
    try:
        yield
    finally:
        for name in reversed(names):
            (system.home / f"away-{name}").rename(system.home / name)


@contextmanager
def read_only(system: SystemOnADisk) -> Iterator[None]:
    """Let every file that is opened from now on be read-only, as on a disk with errors."""
    home = str(system.mount_point)
    mounted = system.run(
        "sh", "-c", f"mount --bind {home} {home} && mount -o remount,bind,ro {home}"
    )
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        assert system.run("umount", "--lazy", home).returncode == 0


@contextmanager
def disk_full(system: SystemOnADisk) -> Iterator[None]:
    filler = system.home / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    try:
        yield
    finally:
        filler.unlink()


def stopped(system: System, *roles: str) -> AbstractContextManager[None]:
    """Let these processes hang."""
    processes = system.main_processes()
    return _hanging([processes[role] for role in roles])


@contextmanager
def _hanging(main_processes: Sequence[psutil.Process]) -> Iterator[None]:
    processes = [
        process for main in main_processes for process in (main, *main.children(recursive=True))
    ]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


def stop_server(server: Any) -> None:
    """Stop it at once. Its own command waits for a process that is dead already."""
    process = psutil.Process(server.get_pid())
    process.send_signal(signal.SIGINT)
    wait_for(lambda: not alive([process]), seconds=30)


@contextmanager
def postgresql_stopped(system: SystemOnPostgreSQL) -> Iterator[None]:
    stop_server(system.server)
    try:
        yield
    finally:
        system.server.start()


def postgresql_hangs(system: SystemOnPostgreSQL) -> AbstractContextManager[None]:
    return _hanging([psutil.Process(system.server.get_pid())])
