"""From the first check to the last line: one run of the system."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import structlog
from django.conf import settings
from django.db import connections

from killswitch.accounts.demo import DemoPerson
from killswitch.supervision import (
    database_checks,
    lifecycle_events,
    locks,
    preflight,
    prepare,
    startup_banner,
    supervisor,
)
from killswitch.supervision.errors import CannotStart
from killswitch.supervision.log_multiplexer import LogMultiplexer
from killswitch.supervision.programs import Program, all_programs

log = structlog.get_logger(__name__)

# Seconds until the stop is recorded, or is not, of the five that are promised: noticing the signal
# and writing the last lines take a little more.
STOP_RECORD_DEADLINE_S = 4.2


def run(*, only: Sequence[str] = ()) -> None:
    """Check, prepare, start, and keep running until a signal. Raises `CannotStart`."""
    preflight.check_host()  # before the others: the web's command line needs its address
    programs = chosen(only)
    names = [program.name for program in programs]
    with locks.exclusive_locks(names):
        preflight.check(names)
        with locks.held_ports(names):
            if only:
                database_checks.check()
                database_checks.check_prepared()
            people = () if only else prepare.prepare()
            lifecycle_events.record_start(names)
            _serve(programs, people)


def chosen(only: Sequence[str]) -> tuple[Program, ...]:
    """All programs, or those of these names."""
    programs = all_programs()
    known = [program.name for program in programs]
    if unknown := [name for name in only if name not in known]:
        raise CannotStart(f"--only {','.join(unknown)}: the programs are {', '.join(known)}.")
    return tuple(program for program in programs if not only or program.name in only)


def _serve(programs: Sequence[Program], people: Sequence[DemoPerson]) -> None:
    names = [program.name for program in programs]
    welcome = startup_banner.text(people) if "web" in names else f"Running: {', '.join(names)}."
    _prepare_environment()
    connections.close_all()  # the children are forked from here
    stop = threading.Event()
    with _console() as console:
        if "web" in names:
            startup_banner.once_web_is_up(lambda: console.say(welcome), stop=stop)
        else:
            console.say(welcome)
        ended = Stopwatch()
        supervisor.run_programs(
            programs=programs,
            directory=settings.KILLSWITCH_HOME,
            feed=console.feed,
            on_stopping=ended.start,
        )
        stop.set()
        lifecycle_events.record_stop(
            names, seconds=max(STOP_RECORD_DEADLINE_S - ended.seconds(), 0.3)
        )


class Stopwatch:
    """Counts from the moment that stopping began."""

    def __init__(self) -> None:
        self._started_at: float | None = None

    def start(self) -> None:
        self._started_at = time.monotonic()

    def seconds(self) -> float:
        return 0.0 if self._started_at is None else time.monotonic() - self._started_at


@contextlib.contextmanager
def _console() -> Iterator[LogMultiplexer]:
    sys.stdout.flush()
    console = LogMultiplexer(descriptor=sys.stdout.fileno())
    with (
        contextlib.redirect_stdout(console.stream("up")),
        contextlib.redirect_stderr(console.stream("up")),
    ):
        try:
            yield console
        finally:
            console.close(seconds=0.2)


def _prepare_environment() -> None:
    """What the children need to find the same code and the same files from any directory."""
    os.environ["KILLSWITCH_HOME"] = str(settings.KILLSWITCH_HOME)
    os.environ["PYTHONUNBUFFERED"] = "1"
    paths = [str(settings.BASE_DIR), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
