"""The supervisor on its own, with programs that misbehave on purpose."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from killswitch.supervision import supervisor
from killswitch.supervision.programs import Program, Stage
from tests.conftest import wait_for

# Deaf to SIGTERM, in both stages, and with a child that is deaf as well.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("deaf", flush=True)
time.sleep(60)
"""
DRIVER = """
import sys
from pathlib import Path
from killswitch.supervision import keeper
from killswitch.supervision.console import Console
from killswitch.supervision.programs import Program, Stage

def python(name, stage, code):
    return Program(name=name, stage=stage, command=(sys.executable, "-c", code))

console = Console(descriptor=1)
keeper.keep(
    programs=(
        python("dies", Stage.PRODUCT, "print('dying; # %d \\"quoted\\"')"),
        python("deaf", Stage.PRODUCT, sys.argv[2]),
        python("last", Stage.SERVICES, sys.argv[2]),
    ),
    directory=Path(sys.argv[1]),
    feed=console.feed,
    on_stopping=lambda: console.say("stopping"),
)
console.close(seconds=1)
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def keeping(tmp_path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    home = tmp_path / "a ; home # with %d odd signs"
    home.mkdir()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(home), DEAF],
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=output,
        )
    yield process
    process.kill()
    process.wait()


def test_what_keeps_dying_is_tried_every_second_for_ever_and_a_stop_takes_under_five(
    keeping: subprocess.Popen[bytes], log: Path
) -> None:
    def tries() -> int:
        return log.read_text().count('dies      | dying; # %d "quoted"')

    # Supervisor's own pauses would grow by a second each time: five tries took over ten seconds.
    wait_for(lambda: tries() >= 5, seconds=9)
    wait_for(lambda: log.read_text().count("| deaf") >= 2, seconds=5)
    began = time.monotonic()
    keeping.send_signal(signal.SIGINT)
    assert keeping.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    said = log.read_text()
    assert "stopping" in said
    assert said.index("stopped: deaf") < said.index("stopped: last"), "services end last"


def test_the_configuration_holds_no_path_and_no_secret() -> None:
    command = ("/a path/with ; and # and %(x)s", "--password", "hunter22")
    program = Program(name="web", stage=Stage.PRODUCT, command=command)
    text = supervisor.configuration([program])
    assert "command=%(command_web)s" in text
    assert "hunter22" not in text
    assert "/a path" not in text
