"""The command line's own end."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.supervision.system_process import MANAGE, environment

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


COMMAND = """
import os, runpy, signal, sys, threading, time
import django
import django.core.management
django.setup = lambda: None
def run(arguments):
    {does}
django.core.management.execute_from_command_line = run
sys.argv = ["manage.py", {command!r}]
runpy.run_path({path!r}, run_name="__main__")
"""


def ends(
    does: str, *, command: str = "verify_audit", shell: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """What becomes of a command that does this, with redirections such as `>&-`."""
    program = COMMAND.format(does=does, command=command, path=MANAGE)
    line = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)} {shell}"
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("code", [0, 1])
def test_output_that_nobody_takes_changes_no_exit_code(shell: str, code: int) -> None:
    does = f"print('x' * 100000); sys.stderr.write('y\\n'); sys.exit({code})"
    done = ends(does, shell=shell)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_gone_changes_no_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = COMMAND.format(
        does="print('x' * 100000); sys.exit(1)", command="verify_audit", path=MANAGE
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=20,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_file_that_is_opened_never_takes_the_place_of_a_closed_output(tmp_path: Path) -> None:
    file = tmp_path / "database"
    does = f"file = open({str(file)!r}, 'w'); print('for nobody'); file.flush(); sys.exit(0)"
    assert ends(does, shell=">&- 2>&-").returncode == 0
    assert file.read_text() == ""


def test_what_fails_before_a_command_runs_is_one_sentence_and_two(tmp_path: Path) -> None:
    (tmp_path / "secret_key").mkdir()  # unreadable, for root as well
    done = subprocess.run(
        [sys.executable, MANAGE, "cancel_all", "--all"],
        env=environment(KILLSWITCH_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("killswitch cannot start: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "code"), [("verify_audit", 2), ("cancel_all", 1)])
def test_an_error_of_ours_is_no_finding_and_no_refusal(command: str, code: int) -> None:
    """For one, 1 is a bad log; for the other, 2 is that nothing was recorded."""
    done = ends("raise ZeroDivisionError", command=command)
    assert done.returncode == code
    assert "ZeroDivisionError" in done.stderr


def test_an_interruption_before_anything_was_done_is_no_traceback() -> None:
    # Whoever runs the tests in the background of a shell has it ignored, and this inherits that.
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    done = ends(f"{heard}; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")
    assert (done.returncode, done.stderr) == (2, "killswitch: interrupted.\n")


def test_an_interrupted_kill_does_not_wait_for_a_call_that_hangs() -> None:
    began = time.monotonic()
    does = "threading.Thread(target=time.sleep, args=[15]).start(); sys.exit(1)"
    assert ends(does, command="cancel_all").returncode == 1
    assert time.monotonic() - began < 10
