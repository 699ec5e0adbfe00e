"""The end of a command: its exit code, which its output cannot change, and its process."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.supervision.system_process import MANAGE, environment

TIMEOUT_S = 90  # on a busy machine; a test takes a second
COMMAND = """
import atexit, os, runpy, signal, sys, threading, time
import django
import django.core.management
django.setup = lambda: None
def run(arguments):
    {code}
django.core.management.execute_from_command_line = run
sys.argv = ["manage.py", {command!r}]
runpy.run_path({path!r}, run_name="__main__")
"""
PRINT_A_LOT = "print('x' * 100000); sys.stderr.write('y\\n');"


def run(
    code: str, *, command: str = "verify_audit", redirections: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command that executes this code, with redirections such as `>&-`."""
    program = COMMAND.format(code=code, command=command, path=MANAGE)
    line = f"exec {shlex.quote(sys.executable)} -c {shlex.quote(program)} {redirections}"
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )


@pytest.mark.parametrize(
    ("command", "output"),
    [("watchdog", "work done\n"), ("verify_audit", "work done\ntaken down in order\n")],
)
def test_only_a_long_running_command_skips_the_end_of_the_interpreter(
    command: str, output: str
) -> None:
    work = "threading.Thread(target=lambda: (time.sleep(0.3), print('work done'))).start()"
    process = run(f"atexit.register(print, 'taken down in order'); {work}", command=command)
    assert (process.returncode, process.stdout) == (0, output), process.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("exit_code", [0, 1])
def test_output_that_cannot_be_written_does_not_change_the_exit_code(
    redirection: str, exit_code: int
) -> None:
    process = run(f"{PRINT_A_LOT} sys.exit({exit_code})", redirections=redirection)
    assert process.returncode == exit_code, process.stderr
    assert "Traceback" not in process.stderr


def test_a_reader_that_has_gone_does_not_change_the_exit_code() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code = COMMAND.format(
            code="print('x' * 100000); sys.exit(1)", command="verify_audit", path=MANAGE
        )
        process = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    finally:
        os.close(writer)
    assert (process.returncode, process.stderr) == (1, "")


def test_a_character_that_the_terminal_lacks_does_not_end_a_command(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-X", "utf8=0", MANAGE, "shell", "-c", r"print('\u2014')"],
        env=environment(KILLSWITCH_HOME=str(tmp_path), LC_ALL="C"),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.endswith("\\u2014\n")


def test_an_opened_file_never_gets_the_descriptor_of_a_closed_output(tmp_path: Path) -> None:
    path = tmp_path / "database"
    code = f"file = open({str(path)!r}, 'w'); print('lost'); file.flush(); sys.exit(0)"
    assert run(code, redirections=">&- 2>&-").returncode == 0
    assert path.read_text() == ""


def test_an_error_before_the_command_runs_is_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "secret_key").mkdir()  # cannot be read, even by root
    process = subprocess.run(
        [sys.executable, MANAGE, "cancel_all", "--all"],
        env=environment(KILLSWITCH_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("killswitch cannot start: ")
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize(("command", "exit_code"), [("verify_audit", 2), ("cancel_all", 1)])
def test_a_defect_is_reported_neither_as_a_bad_log_nor_as_a_refusal(
    command: str, exit_code: int
) -> None:
    """1 of `verify_audit` means a bad log; 2 of `cancel_all` means that it recorded no request."""
    process = run("raise ZeroDivisionError", command=command)
    assert process.returncode == exit_code
    assert "ZeroDivisionError" in process.stderr


def test_an_interrupted_command_prints_one_line_and_no_traceback() -> None:
    # A shell ignores SIGINT in a background job, and this process may have inherited that.
    handler = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = run(f"{handler}; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)")
    assert (process.returncode, process.stderr) == (2, "killswitch: interrupted.\n")


def test_an_interrupted_kill_does_not_wait_for_a_call_that_hangs() -> None:
    began_at = time.monotonic()
    code = "threading.Thread(target=time.sleep, args=[80]).start(); sys.exit(1)"
    assert run(code, command="cancel_all").returncode == 1
    assert time.monotonic() - began_at < 60
