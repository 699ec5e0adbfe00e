"""Resources that one running system holds exclusively: its programs' locks and its ports."""

import errno
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings

from killswitch.runtime.files import open_locked
from killswitch.supervision.checks import CannotStart


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
    with ExitStack() as lock:
        with naming_file_errors(path):
            try:
                file = lock.enter_context(open_locked(path, timeout_s=0))
            except TimeoutError:
                holder = path.read_text(errors="replace").strip() or "unknown"
                raise CannotStart(
                    f"KILLSWITCH_HOME: {path.parent} is already in use by a running system"
                    f" (process {holder}). Stop it, or name another directory and another PORT."
                ) from None
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


@contextmanager
def exclusive_ports(programs: Iterable[str]) -> Iterator[None]:
    """Check that the ports of these programs are free, and reserve them (Linux).

    Binding a port does not reserve it: the web server shares it with any process that starts at
    the same moment. A name that the kernel knows does.
    """
    ports = {
        "web": ("PORT", settings.HOST, settings.PORT),
        "simulator": ("SIMULATOR_PORT", "127.0.0.1", settings.SIMULATOR_PORT),
    }
    with ExitStack() as sockets:
        for name, host, port in [ports[program] for program in programs if program in ports]:
            address = _check_port(name=name, host=host, port=port)
            if sys.platform != "linux":
                continue
            holder = sockets.enter_context(socket.socket(socket.AF_UNIX))
            try:
                holder.bind(f"\0killswitch {address} {port}")
            except OSError:
                raise CannotStart(
                    f"{name}: port {port} on {host} is already in use by another kill switch, which"
                    f" is starting or running. Stop that one, or set {name} to a free port."
                ) from None
        yield


def _check_port(*, name: str, host: str, port: int) -> str:
    """Bind the port once, and return its address.

    The web server itself would silently share a port that is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"{name}: port {port} on {host} is already in use by another program."
                f" Stop that one, or set {name} to a free port."
            ) from None
        raise CannotStart(
            f"{name}: port {port} on {host} cannot be used ({error.strerror or error})."
            f" Check HOST and {name}."
        ) from None
    return str(address[0])
