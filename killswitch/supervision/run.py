"""One run of the system, from the first check to the last line of its log."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout

from django.conf import settings
from django.db import connections

from killswitch import inherited_environment
from killswitch.runtime.deadlines import Deadline
from killswitch.supervision import checks, lifecycle_events, locks, preflight, startup_banner
from killswitch.supervision.checks import CannotStart
from killswitch.supervision.log_multiplexer import LogMultiplexer, Stream
from killswitch.supervision.prepare import check_prepared, create_sqlite_file, prepare
from killswitch.supervision.programs import Program, all_programs
from killswitch.supervision.supervisor import Supervisor

# Of the five seconds that are promised: noticing the signal and the last lines take the rest.
STOP_TIMEOUT_S = 4.2
MIN_RECORD_TIMEOUT_S = 0.3
LAST_LINES_TIMEOUT_S = 0.2
RECORD_INTERVAL_S = 5.0


def run(*, only: Sequence[str] = ()) -> None:
    """Check, prepare, start, and keep running until a signal. Raises `CannotStart`.

    `only` names the programs to run, instead of all; these start without the database or Redis too.
    """
    checks.require(checks.CONFIGURATION)
    programs = {program.name: program for program in all_programs()}
    if unknown_names := [name for name in only if name not in programs]:
        raise CannotStart(
            f"--only {','.join(unknown_names)}: the programs are {', '.join(programs)}."
        )
    names = [name for name in programs if not only or name in only]
    with locks.exclusive_locks(names), locks.exclusive_ports(names):
        if not only:
            create_sqlite_file()
        unreachable = preflight.check(names)
        if unreachable.sentences and not only:
            raise CannotStart(unreachable.sentences[0])
        if unreachable.database:
            # The host was restarted in the middle of an outage: its programs wait as those of the
            # other hosts do, and its pages offer break glass.
            lines = [f"Running without the database: {', '.join(names)}."]
        else:
            if only:
                check_prepared()
            users = () if only else prepare()
            lifecycle_events.record_start(names)
            lines = (
                [startup_banner.text(users)]
                if "web" in names
                else [f"Running: {', '.join(names)}.", *checks.warnings()]
            )
        banner = "\n".join([*unreachable.sentences, *lines])
        with _later_record(names) if unreachable.database else nullcontext():
            _serve([programs[name] for name in names], banner)


@contextmanager
def _later_record(names: Sequence[str]) -> Iterator[None]:
    """Record the start once the database can be reached."""
    stopping = threading.Event()

    def record() -> None:
        while not stopping.wait(RECORD_INTERVAL_S):
            if not preflight.check_database():
                lifecycle_events.record_start(names)
                connections.close_all()  # of this thread
                return

    threading.Thread(target=record, name="record start", daemon=True).start()
    try:
        yield
    finally:
        stopping.set()


def _serve(programs: Sequence[Program], banner: str) -> None:
    names = [program.name for program in programs]
    connections.close_all()  # before the children are forked
    stopping = threading.Event()
    # The children must find the same code and files from any directory.
    environment = inherited_environment.kept(os.environ) | {
        "KILLSWITCH_HOME": str(settings.KILLSWITCH_HOME),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": inherited_environment.PROJECT_DIRECTORY,
    }
    with _multiplexed_log() as output:
        if "web" in names:
            startup_banner.once_web_is_up(lambda: output.write_lines(banner), stop=stopping)
        else:
            output.write_lines(banner)
        supervisor = Supervisor(programs, environment=environment, feed=output.feed)
        supervisor.run_until_signal()
        deadline = Deadline(STOP_TIMEOUT_S)
        stopping.set()
        supervisor.stop()
        record_timeout_s = max(deadline.seconds_left, MIN_RECORD_TIMEOUT_S)
        lifecycle_events.record_stop(names, timeout_s=record_timeout_s)


@contextmanager
def _multiplexed_log() -> Iterator[LogMultiplexer]:
    """Send this process's own output through the log of all programs."""
    sys.stdout.flush()
    output = LogMultiplexer(descriptor=sys.stdout.fileno())
    try:
        stream = Stream(output, name="up")
        with redirect_stdout(stream), redirect_stderr(stream):
            yield output
    finally:
        output.close(timeout_s=LAST_LINES_TIMEOUT_S)
