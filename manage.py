#!/usr/bin/env python
"""The command line: `manage.py up` starts the whole system, `manage.py help` lists the rest."""

import os
import sys
import threading

# Not 1: for `cancel_all` that means "recorded, not all confirmed", for `verify_audit` "a bad log".
CANNOT_START = 2
LONG_RUNNING = ("up", "watchdog", "observe")


def main() -> None:
    """Run one management command with the project's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "killswitch.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as wrong:
        sys.stderr.write(f"killswitch cannot start: {wrong}\n")
        sys.exit(CANNOT_START)
    if any(name in LONG_RUNNING for name in sys.argv[1:2]):
        leave()


def leave() -> None:
    """End once everybody's work is done, without taking the interpreter down in order.

    That costs half a second of processor time in each process, of the five seconds of a stop.
    """
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
