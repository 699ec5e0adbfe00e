"""Real processes of the product on the test's own database, for tests that kill them."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from killswitch.simulator.server import Simulator
from killswitch.supervision import programs

ROOT = Path(settings.BASE_DIR)


def database_url() -> str:
    """Return the URL of the test database for another process."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return os.environ["DATABASE_URL"].replace("/postgres?", f"/{name}?")


def stop_between_writes(process: subprocess.Popen[bytes]) -> None:
    """Stop a process while it does not write: on SQLite, it would lock out all others."""
    process.send_signal(signal.SIGSTOP)
    while not _can_be_written():
        process.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)


def _can_be_written() -> bool:
    if connection.vendor != "sqlite":
        return True
    database = sqlite3.connect(connection.settings_dict["NAME"], timeout=0.3)
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        database.close()
    return True


class Stack:
    """Starts, kills and stops processes; their output goes to one log."""

    def __init__(self, *, simulator: Simulator, redis_url: str, log: Path) -> None:
        self.simulator = simulator
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "killswitch.settings",
            # The checkpoints of one test's log would contradict the log of the next test.
            "KILLSWITCH_HOME": str(log.parent),
            "DATABASE_URL": database_url(),
            "REDIS_URL": redis_url,
            "EMS_BASE_URL": simulator.url,
            "EMS_TIMEOUT": "2",
            "CANCEL_DEADLINE": "8",
        }
        self.log = log
        self.running: list[subprocess.Popen[bytes]] = []

    def set(self, **environment: Any) -> None:
        """Set variables for the processes that are started from now on."""
        self.environment |= {name: str(value) for name, value in environment.items()}

    def worker(self) -> subprocess.Popen[bytes]:
        return self._start([*programs.worker().command, "-l", "info"])

    def watchdog(self) -> subprocess.Popen[bytes]:
        return self.manage("watchdog")

    def manage(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._start([sys.executable, str(ROOT / "manage.py"), *arguments])

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        return self._start([*command])

    def stop(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.running:
            process.wait()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        self.running.append(process)
        return process
