"""Resources that one running system holds exclusively: its programs' locks and its ports."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings

from killswitch.runtime.files import lock_file
from killswitch.supervision.checks import CannotStart

MAX_PID_BYTES = 20


@contextmanager
def naming_file_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `CannotStart` that names the file in KILLSWITCH_HOME."""
    try:
        yield
    except OSError as error:
        raise CannotStart(
            f"KILLSWITCH_HOME: {error.filename or path} cannot be used ({error.strerror or error})."
            " Free some space there, let this user write to it, or name another directory."
        ) from None


@contextmanager
def exclusive_locks(programs: Iterable[str]) -> Iterator[None]:
    """Hold one lock for each program: it runs once on a data directory."""
    with ExitStack() as locks:
        for name in sorted(programs):
            locks.enter_context(exclusive_lock(settings.KILLSWITCH_HOME / f"up-{name}.lock"))
        yield


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file that contains the id of this process.

    Raises `CannotStart` when another process holds it.
    """
    with naming_file_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if not lock_file(handle):
            holder = os.read(handle, MAX_PID_BYTES).decode(errors="replace").strip()
            os.close(handle)
            raise CannotStart(
                f"KILLSWITCH_HOME: {path.parent} is already in use by a running system"
                f" (process {holder or 'unknown'}). Stop it, or name another directory and another"
                " PORT."
            )
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def exclusive_ports(programs: Iterable[str]) -> Iterator[None]:
    """Hold the ports of these programs, by a name that the kernel knows (Linux).

    Binding a port does not reserve it: the web server shares it with any process that starts at
    the same moment.
    """
    ports = {
        "web": ("PORT", settings.HOST, settings.PORT),
        "simulator": ("SIMULATOR_PORT", "127.0.0.1", settings.SIMULATOR_PORT),
    }
    with ExitStack() as sockets:
        for program in programs:
            if program not in ports or sys.platform != "linux":
                continue
            name, host, port = ports[program]
            address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
            holder = sockets.enter_context(socket.socket(socket.AF_UNIX))
            try:
                holder.bind(f"\0killswitch {address} {port}")
            except OSError:
                raise CannotStart(
                    f"{name}: port {port} on {host} is already in use by another kill switch, which"
                    f" is starting or running. Stop that one, or set {name} to a free port."
                ) from None
        yield
