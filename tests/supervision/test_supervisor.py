"""The supervisor on its own, with programs that misbehave on purpose."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.conf import settings

from tests.conftest import wait_for
from tests.supervision.system_process import alive

# Ignores SIGTERM, and so does its child.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("deaf", flush=True)
time.sleep(60)
"""
DRIVER = """
import sys
from killswitch.supervision.log_multiplexer import LogMultiplexer
from killswitch.supervision.programs import Program, Stage
from killswitch.supervision.supervisor import Supervisor

def python(name, stage, code):
    return Program(name=name, stage=stage, command=(sys.executable, "-c", code))

output = LogMultiplexer(descriptor=1)
supervisor = Supervisor(
    (
        python("dies", Stage.PRODUCT, "print('dying; # %d \\"quoted\\"')"),
        python("deaf", Stage.PRODUCT, sys.argv[1]),
        python("last", Stage.SERVICES, sys.argv[1]),
        Program(name="missing", stage=Stage.PRODUCT, command=("/nowhere/program",)),
    ),
    environment={},
    feed=output.feed,
)
supervisor.run_until_signal()
output.write_lines("stopping")
supervisor.stop()
output.close(timeout_s=1)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def supervisor(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, DEAF],
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
        )
    yield process
    process.kill()
    process.wait()


def wait_for_output(log: Path, text: str, *, count: int) -> None:
    wait_for(lambda: log.read_text().count(text) >= count, seconds=30)


def test_a_program_that_keeps_dying_is_restarted_every_second_without_an_end(
    supervisor: subprocess.Popen[bytes], log: Path
) -> None:
    wait_for_output(log, 'dies      | dying; # %d "quoted"', count=1)
    began_at = time.monotonic()
    wait_for_output(log, 'dies      | dying; # %d "quoted"', count=8)
    # Growing pauses, as other supervisors have, would take 28 seconds.
    assert 5 < time.monotonic() - began_at < 25


def test_a_program_that_cannot_be_started_does_not_stop_the_others(
    supervisor: subprocess.Popen[bytes], log: Path
) -> None:
    wait_for_output(log, "program_not_started", count=3)
    wait_for_output(log, "| deaf", count=4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_ends_everything_within_five_seconds_and_services_last(
    supervisor: subprocess.Popen[bytes], log: Path, number: int
) -> None:
    wait_for_output(log, "| deaf", count=4)
    family = psutil.Process(supervisor.pid).children(recursive=True)
    began_at = time.monotonic()
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=30) == 0
    # Four seconds of waiting, and the delays of a busy machine.
    assert time.monotonic() - began_at < 12
    assert alive(family) == []
    output = log.read_text()
    assert "stopping" in output
    stopped = re.findall(r"program_stopped.* program=(\w+)", output)
    assert "deaf" in stopped
    assert stopped[-1] == "last"


def test_a_killed_supervisor_leaves_no_program_behind(
    supervisor: subprocess.Popen[bytes], log: Path
) -> None:
    wait_for_output(log, "| deaf", count=4)
    programs = psutil.Process(supervisor.pid).children()
    grandchildren = [child for program in programs for child in program.children()]
    supervisor.kill()
    wait_for(lambda: alive(programs) == [], seconds=10)
    for process in grandchildren:  # a program must see to its own children
        process.kill()
