"""Runs a management command with an exit code that its output cannot change.

Exit code 2 means that the command had no effect: 1 already means "recorded, not all confirmed" for
`cancel_all` and "a bad log" for `verify_audit`.
"""

import io
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import TextIO

from killswitch.runtime.deadlines import Deadline

NO_EFFECT = 2
DEFECT_EXIT_CODES = {"verify_audit": 2}  # 1 for other commands
LONG_RUNNING = ("up", "watchdog", "observe")
# An interrupted cancel does not wait for a call that hangs: another process carries on with it.
THREADS_TIMEOUT_S = {"cancel_all": 0.3, "break_glass": 0.3}


def execute(arguments: Sequence[str]) -> None:
    """Run the command, wait for its threads, and end the process."""
    make_stdio_safe()
    command = arguments[1] if len(arguments) > 1 else ""
    exit_code = _run(arguments, command=command)
    if command in THREADS_TIMEOUT_S or (command in LONG_RUNNING and exit_code == 0):
        deadline = Deadline(THREADS_TIMEOUT_S.get(command, threading.TIMEOUT_MAX))
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join(deadline.seconds_left)
        sys.stdout.flush()
        sys.stderr.flush()
        # Taking the interpreter down in order costs half a second of processor time in each
        # process, of the five seconds of a stop.
        os._exit(exit_code)
    sys.exit(exit_code)


def _run(arguments: Sequence[str], *, command: str) -> int:
    from django.core.exceptions import ImproperlyConfigured

    try:
        if command == "break_glass":
            # Without the apps: it must start fast, and even if they are broken.
            from killswitch.break_glass.command import main
        else:
            import django
            from django.core.management import execute_from_command_line

            django.setup()
    except ImproperlyConfigured as error:
        return _refuse(str(error))
    except Exception as error:  # noqa: BLE001 - any error: the command has had no effect
        return _refuse(f"{type(error).__name__}: {error}")
    try:
        if command == "break_glass":
            return main(arguments[2:])
        execute_from_command_line(list(arguments))
    except ImproperlyConfigured as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        sys.stderr.write("killswitch: interrupted.\n")
        return NO_EFFECT
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except Exception:  # noqa: BLE001 - printed in full
        traceback.print_exc()
        return DEFECT_EXIT_CODES.get(command, 1)
    return 0


def _refuse(reason: str) -> int:
    sys.stderr.write(f"killswitch cannot start: {' '.join(reason.split())}\n")
    return NO_EFFECT


class LossyTextIO(io.TextIOWrapper):
    """A text stream that drops everything from the first failure on.

    A full disk or a reader that has gone would otherwise end a command in the middle, or with exit
    code 120 at its very end.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        # The buffered text goes to /dev/null too, instead of failing again at each flush.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)


def make_stdio_safe() -> None:
    """Make standard input, output and error usable; call it before any file is opened."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # A closed descriptor would go to the next file that is opened, such as the database.
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    sys.stdin = sys.stdin or open(0)  # noqa: SIM115
    sys.stdout = _lossy(sys.stdout, descriptor=1)
    sys.stderr = _lossy(sys.stderr, descriptor=2)


def _lossy(stream: TextIO | None, *, descriptor: int) -> LossyTextIO:
    # An exchange's name that the terminal's encoding lacks must not end a command in the middle.
    errors = "backslashreplace"
    if not isinstance(stream, io.TextIOWrapper):  # it was closed
        return LossyTextIO(open(descriptor, "wb"), errors=errors)
    return LossyTextIO(
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
        buffer=stream.detach(),  # after the attributes, which it makes unreadable
    )
