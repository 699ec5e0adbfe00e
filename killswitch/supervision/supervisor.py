"""Keeps programs running: `supervisord` inside this process, set up for a kill switch.

Three things differ from its defaults. A program that keeps dying is tried again every second, for
ever. A child is killed by the kernel when this process ends in whatever way. Signals and deaths are
noticed after a fifth of a second, not after a whole one.
"""

import os
import resource
import shlex
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog
from supervisor import events, loggers
from supervisor.medusa.asyncore_25 import ExitNow
from supervisor.options import ServerOptions
from supervisor.poller import Poller
from supervisor.supervisord import Supervisor

from killswitch.supervision import parent_death
from killswitch.supervision.errors import naming_file_errors
from killswitch.supervision.programs import Program, Stage

log = structlog.get_logger(__name__)

POLL_INTERVAL_S = 0.2  # seconds
RESTART_DELAY_S = 1.0  # seconds
MAX_OPEN_FILES = 8192
# Whole seconds for each stage; together with everything else a stop must end within five.
STOP_WAIT_S = {Stage.PRODUCT: 3, Stage.SERVICES: 1}
STAGE_PRIORITY = {Stage.SERVICES: 10, Stage.PRODUCT: 20}  # the highest is stopped first

Feed = Callable[[str, bytes], None]


def run_programs(
    *,
    programs: Iterable[Program],
    directory: Path,
    feed: Feed,
    on_stopping: Callable[[], None],
) -> None:
    """Run the programs until SIGTERM, SIGINT or SIGHUP; their output goes to `feed(name, data)`."""
    programs = tuple(programs)
    raise_open_files()
    path = directory / "supervisord.conf"
    with naming_file_errors(path):
        path.write_text(configuration(programs))
    options = Options(commands={program.name: shlex.join(program.command) for program in programs})
    options.realize(["-c", str(path)], doc="")
    options.first, options.test = True, False
    try:
        KillSwitchSupervisor(options=options, feed=feed, on_stopping=on_stopping).main()
    except ExitNow:
        log.info("everything has stopped")


def raise_open_files() -> None:
    """Hundreds of calls may be in flight; a shell's usual limit of 1,024 files is too close."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MAX_OPEN_FILES:
        wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def configuration(programs: Iterable[Program]) -> str:
    """The configuration file. Commands are filled in later, so no path can break its syntax."""
    programs = tuple(programs)
    head = ["[supervisord]", "nodaemon=true", "nocleanup=true", "minfds=256", "minprocs=1"]
    head += ["logfile=/dev/null", "logfile_maxbytes=0", "loglevel=warn"]
    if os.getuid() == 0:
        head.append("user=root")  # said on purpose, or it warns at every start
    stages = (
        [
            f"[group:{stage}]",
            f"programs={','.join(program.name for program in programs if program.stage is stage)}",
            f"priority={STAGE_PRIORITY[stage]}",
        ]
        for stage in Stage
        if any(program.stage is stage for program in programs)
    )
    sections = [head, *stages, *(_section(program) for program in programs)]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _section(program: Program) -> list[str]:
    return [
        f"[program:{program.name}]",
        f"command=%(command_{program.name})s",
        "autorestart=true",
        "startsecs=1",
        f"stopwaitsecs={STOP_WAIT_S[program.stage]}",
        "killasgroup=true",
        "redirect_stderr=true",
        "stdout_logfile=NONE",
        "stdout_events_enabled=true",
    ]


class Options(ServerOptions):  # type: ignore[misc]
    """Supervisor's options and its doors to the operating system."""

    def __init__(self, *, commands: dict[str, str]) -> None:
        super().__init__()
        self.poller = FastPoller(self)
        self._pid = os.getpid()
        for name, command in commands.items():
            self.environ_expansions[f"command_{name}"] = command

    def make_logger(self) -> None:
        self.logger = loggers.Logger(loggers.LevelsByName.WARN, [StructlogHandler()])

    def write_pidfile(self) -> None:
        """None: the lock on the home directory already says who runs here."""

    def setsignals(self) -> None:
        ignores_hang_up = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        super().setsignals()
        if ignores_hang_up:  # under nohup the closed terminal is not a reason to stop
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def setpgrp(self) -> None:
        # The first thing that supervisor does in a forked child, long before it execs.
        super().setpgrp()
        parent_death.die_with_parent(self._pid)


class FastPoller(Poller):  # type: ignore[misc]
    """Supervisor acts on signals only when its poll returns; one second of that is too long."""

    def poll(self, timeout: float) -> Any:
        return super().poll(min(timeout, POLL_INTERVAL_S))


class StructlogHandler(loggers.Handler):  # type: ignore[misc]
    """Supervisor's own messages in our log."""

    def emit(self, record: Any) -> None:
        log.warning(record.asdict()["message"].rstrip())


class KillSwitchSupervisor(Supervisor):  # type: ignore[misc]
    """Supervisor's loop, with our listeners."""

    def __init__(self, *, options: Options, feed: Feed, on_stopping: Callable[[], None]) -> None:
        super().__init__(options)
        self._feed = feed
        self._on_stopping = on_stopping

    def runforever(self) -> None:
        events.subscribe(events.ProcessLogEvent, self._pass_on)
        events.subscribe(events.ProcessStateRunningEvent, self._say_running)
        events.subscribe(events.ProcessStateBackoffEvent, self._try_again_soon)
        events.subscribe(events.SupervisorStoppingEvent, lambda _event: self._on_stopping())
        super().runforever()

    def _pass_on(self, event: Any) -> None:
        self._feed(event.process.config.name, event.data)

    def _say_running(self, event: Any) -> None:
        log.info("running", program=event.process.config.name, pid=event.process.pid)

    def _try_again_soon(self, event: Any) -> None:
        # Its pauses would grow by a second each time, and end in giving up.
        event.process.backoff = 1
        event.process.delay = time.time() + RESTART_DELAY_S
