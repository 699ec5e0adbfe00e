"""Long commands give way to the processes that carry out cancels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from killswitch.runtime.priority import NICENESS

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, sys
from django.core.management import execute_from_command_line
try:
    execute_from_command_line(["manage.py", sys.argv[1], "--help"])
finally:
    print("niceness", os.nice(0))
"""


@pytest.mark.parametrize("command", ["verify_audit", "export_audit"])
def test_a_long_command_lowers_the_priority_of_its_process(command: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, command],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"niceness {os.nice(0) + NICENESS}" in process.stdout, process.stderr
