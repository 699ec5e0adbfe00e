#!/usr/bin/env python
"""The command line: `manage.py up` starts the whole system, `manage.py help` lists the rest."""

import os
import sys
import threading
import time
import traceback

from killswitch.supervision import stdio

# Not 1: for `cancel_all` that means "recorded, not all confirmed", for `verify_audit` "a bad log".
CANNOT_START = 2
AN_ERROR_OF_OURS = {"verify_audit": 2}  # in others 1
LONG_RUNNING = ("up", "watchdog", "observe")
# Whoever interrupts a kill does not wait for a call that hangs: others carry on with it.
PATIENCE = {"cancel_all": 0.3}  # seconds


def main() -> None:
    """Run one management command with the project's settings."""
    stdio.make_stdio_safe()
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    code = run(command)
    if command in PATIENCE or (command in LONG_RUNNING and code == 0):
        leave(code, patience=PATIENCE.get(command))
    sys.exit(code)


def run(command: str) -> int:
    """Its exit code, whichever way it ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        django.setup()
    except ImproperlyConfigured as wrong:
        return refuse(str(wrong))
    except Exception as error:  # noqa: BLE001 - nothing was done, and that is what counts
        return refuse(f"{type(error).__name__}: {' '.join(str(error).split())}")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        return refuse(str(wrong))
    except KeyboardInterrupt:
        sys.stderr.write("killswitch: interrupted.\n")
        return CANNOT_START
    except SystemExit as ended:
        return code_of(ended)
    except Exception:  # noqa: BLE001 - it is told in full
        traceback.print_exc()
        return AN_ERROR_OF_OURS.get(command, 1)
    return 0


def refuse(why: str) -> int:
    """One sentence, and the code of a command that did nothing."""
    sys.stderr.write(f"killswitch cannot start: {why}\n")
    return CANNOT_START


def code_of(ended: SystemExit) -> int:
    """As the interpreter would choose it."""
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    sys.stderr.write(f"{ended.code}\n")
    return 1


def leave(code: int, *, patience: float | None) -> None:
    """End once everybody's work is done, without taking the interpreter down in order.

    That costs half a second of processor time in each process, of the five seconds of a stop.
    """
    ends_at = time.monotonic() + patience if patience is not None else None
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(None if ends_at is None else max(ends_at - time.monotonic(), 0.0))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
