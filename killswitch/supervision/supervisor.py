"""Keeps programs running: restarts what ends, and stops them in stages.

A program that ends is started again after at most a second, for ever. The kernel kills every child
when this process ends, even by SIGKILL.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import IO

import structlog

from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.shutdown import set_on_signals
from killswitch.supervision.programs import Program, Stage

log = structlog.get_logger(__name__)

POLL_INTERVAL_S = 0.1
RESTART_INTERVAL_S = 1.0
OUTPUT_CHUNK_BYTES = 64 * 1024
MAX_OPEN_FILES = 8192
# In the order of stopping. With everything else, a stop must end within five seconds.
STOP_TIMEOUT_S = {Stage.PRODUCT: 3.0, Stage.SERVICES: 1.0}
PR_SET_PDEATHSIG = 1

# Loaded before the first fork: another thread could hold the loader's lock at that moment.
_libc = ctypes.CDLL(None)

Feed = Callable[[str, bytes], None]


class Supervisor:
    """Runs programs; their output goes to `feed(name, data)`, from one thread for each process.

    Start and stop them in the main thread: to the kernel the parent of a child is the thread that
    started it.
    """

    def __init__(
        self, programs: Iterable[Program], *, environment: Mapping[str, str], feed: Feed
    ) -> None:
        self._children = [
            _Child(program, environment=environment, feed=feed) for program in programs
        ]

    def run_until_signal(self) -> None:
        """Keep all programs running until SIGTERM, SIGINT or SIGHUP."""
        raise_open_files_limit()
        stop = set_on_signals(threading.Event())
        # Under nohup, a closed terminal is not a reason to stop.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda *_: stop.set())
        while not stop.is_set():
            for child in self._children:
                child.ensure_running()
            stop.wait(POLL_INTERVAL_S)

    def stop(self) -> None:
        """End all programs, the users of a service before the service."""
        for stage, timeout_s in STOP_TIMEOUT_S.items():
            children = [child for child in self._children if child.program.stage is stage]
            for child in children:
                child.terminate()
            deadline = Deadline(timeout_s)
            for child in children:
                child.wait_or_kill(deadline)


class _Child:
    """One program and, while it runs, its process."""

    def __init__(self, program: Program, *, environment: Mapping[str, str], feed: Feed) -> None:
        self.program = program
        self._environment = environment
        self._feed = feed
        self._process: subprocess.Popen[bytes] | None = None
        self._restart_pause = Deadline(0.0)

    def ensure_running(self) -> None:
        """Start the program unless it runs, at most once a second."""
        if self._process is not None:
            exit_code = self._process.poll()
            if exit_code is None:
                return
            log.warning("program_ended", program=self.program.name, exit_code=exit_code)
            self._process = None
        if self._restart_pause.has_passed:
            self._restart_pause = Deadline(RESTART_INTERVAL_S)
            self._start()

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait_or_kill(self, deadline: Deadline) -> None:
        """Wait for the end, then kill the rest of its process group."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(deadline.seconds_left)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        exit_code = self._process.wait()
        log.info("program_stopped", program=self.program.name, exit_code=exit_code)

    def _start(self) -> None:
        supervisor_pid = os.getpid()
        try:
            # In a process group of its own, so that Ctrl-C reaches this process alone.
            self._process = process = subprocess.Popen(  # noqa: S603
                self.program.command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=lambda: die_with_parent(supervisor_pid),  # noqa: PLW1509
            )
            output = process.stdout
            threading.Thread(target=self._forward_output, args=[output], daemon=True).start()
        except (OSError, RuntimeError, subprocess.SubprocessError):
            # The machine has no process, thread or file left; a later try may succeed.
            log.exception("program_not_started", program=self.program.name)
            if self._process is not None:
                self._process.kill()
        else:
            log.info("program_started", program=self.program.name, pid=process.pid)

    def _forward_output(self, output: IO[bytes]) -> None:
        with output:
            while data := os.read(output.fileno(), OUTPUT_CHUNK_BYTES):
                self._feed(self.program.name, data)


def raise_open_files_limit() -> None:
    """Allow more open files: hundreds of calls may be in flight, and a shell's limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MAX_OPEN_FILES:
        limit = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux).

    Call it in the child. It survives an exec, and does not pass to the child's own children.
    """
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent ended before the call above
        os._exit(1)


def die_with_web_server() -> None:
    """End this process with the web server that started it as a worker; elsewhere do nothing."""
    server = multiprocessing.parent_process()
    if server is not None and server.pid is not None:
        die_with_parent(server.pid)
