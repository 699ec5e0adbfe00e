"""The command line's own end."""

import subprocess
import sys

from tests.supervision.running import MANAGE

SLOW_END = """
import atexit, runpy, sys, threading, time
import django.core.management
def run(arguments):
    threading.Thread(target=lambda: (time.sleep(0.3), print("carried out"))).start()
django.core.management.execute_from_command_line = run
atexit.register(print, "taken down in order")
sys.argv = ["manage.py", {command!r}]
runpy.run_path({path!r}, run_name="__main__")
"""


def end(command: str) -> str:
    program = SLOW_END.format(command=command, path=MANAGE)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout


def test_a_process_that_is_stopped_ends_when_its_work_has_and_no_later() -> None:
    assert end("watchdog") == "carried out\n"


def test_any_other_command_ends_in_order() -> None:
    assert end("verify_audit") == "carried out\ntaken down in order\n"
