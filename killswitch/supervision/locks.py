"""What one run of the system has for itself: its programs on this home, and its ports."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings

from killswitch.supervision.errors import CannotStart, naming_file_errors


@contextmanager
def exclusive_locks(programs: Iterable[str]) -> Iterator[None]:
    """Each program runs once on a home, started with the others or apart."""
    with ExitStack() as locks:
        for name in sorted(programs):
            locks.enter_context(exclusive_lock(settings.KILLSWITCH_HOME / f"up-{name}.lock"))
        yield


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for as long as this process lives; only one may."""
    with naming_file_errors(path):
        handle = _locked(path)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def held_ports(programs: Iterable[str]) -> Iterator[None]:
    """Binding a port only tries it: the web server shares it with whoever starts beside it.

    So the number is held by a name that the kernel knows for as long as this process lives.
    """
    wanted = {
        "web": ("PORT", settings.HOST, settings.PORT),
        "simulator": ("SIMULATOR_PORT", "127.0.0.1", settings.SIMULATOR_PORT),
    }
    with ExitStack() as held:
        for program in programs:
            if program in wanted and sys.platform == "linux":
                held.enter_context(_held(*wanted[program]))
        yield


def _held(name: str, host: str, port: int) -> socket.socket:
    address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
    holding = socket.socket(socket.AF_UNIX)
    try:
        holding.bind(f"\0killswitch {address} {port}")
    except OSError:
        holding.close()
        raise CannotStart(
            f"{name}: port {port} on {host} is taken by another kill switch that starts or runs."
            f" Stop that one, or set {name} to a free port."
        ) from None
    return holding


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 20).decode(errors="replace").strip() or "another process"
        os.close(handle)
        raise CannotStart(
            f"KILLSWITCH_HOME: {path.parent} is in use by a running system (process {holder})."
            " Stop that one, or name another directory and another PORT."
        ) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle
