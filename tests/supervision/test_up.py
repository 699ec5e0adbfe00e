"""`manage.py up` from outside: what it starts, starts again, stops, and leaves behind."""

import json
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.supervision.system_process import MANAGE, ROLES, System, alive, command_line

BACK_WITHIN = 5.0  # seconds, the promise


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("up")) as running:
        running.wait_until_it_serves()
        yield running


def test_every_program_is_a_descendant_with_the_command_line_that_operators_look_for(
    system: System,
) -> None:
    lines = [command_line(process) for process in system.descendants()]
    for part in ("redis-server", "celery", "manage.py watchdog", "manage.py observe"):
        assert any(part in line for line in lines)
    assert len(system.web_workers()) == 2


def test_it_prints_the_address_and_who_may_sign_in_as_soon_as_it_answers(system: System) -> None:
    wait_for(lambda: f"http://127.0.0.1:{system.port}/" in system.output(), seconds=5)
    wait_for(lambda: "(administrator)" in system.output(), seconds=5)
    kept = (system.home / "demo-people.txt").read_text()
    printed = [line.split() for line in system.output().splitlines() if line.startswith("  ")]
    assert [words[0] for words in printed] == ["olga", "carl", "ada"]
    assert all(words[1] in kept for words in printed)


def test_each_line_of_the_log_names_its_program(system: System) -> None:
    wait_for(lambda: "simulator | " in system.output(), seconds=5)
    wait_for(lambda: "up        | " in system.output(), seconds=5)


def test_only_its_own_user_can_read_what_it_writes(system: System) -> None:
    written = [path for path in system.home.rglob("*") if path != system.log]
    assert len(written) >= 5
    assert [path for path in written if path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)] == []


def test_the_start_is_in_the_audit_log_with_a_fingerprint_of_the_settings(system: System) -> None:
    started = [json.loads(data) for kind, data in system.events() if kind == "STARTED"]
    assert len(started) == 1
    assert started[0]["programs"] == list(ROLES)
    assert started[0]["settings"]["EMS_TIMEOUT"] == "10"
    assert len(started[0]["settings_fingerprint"]) == 64
    secret = (system.home / "secret_key").read_text()
    assert secret not in json.dumps(started)


def test_a_second_start_on_the_same_home_is_refused_in_one_sentence(system: System) -> None:
    refused = subprocess.run(
        [sys.executable, MANAGE, "up"],
        env=system.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert refused.returncode == 2
    assert f"in use by a running system (process {system.process.pid})" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert system.serves()


@pytest.mark.parametrize("role", list(ROLES))
def test_a_killed_program_is_back_and_serving_within_five_seconds(
    system: System, role: str
) -> None:
    wait_for(lambda: set(ROLES) == set(system.main_processes()), seconds=10)
    killed = system.main_processes()[role]
    its_children = killed.children()
    waiting = system.waiting_at_the_queue()
    killed.kill()
    killed_at = time.monotonic()
    wait_for(lambda: alive([killed, *its_children]) == [], seconds=2)
    beats = system.beats(role)
    left = BACK_WITHIN - (time.monotonic() - killed_at)
    wait_for(
        lambda: (
            system.main_processes().get(role, killed) != killed
            and _serves_again(system, role, beats=beats, waiting=waiting)
        ),
        seconds=left,
    )


def _serves_again(system: System, role: str, *, beats: int, waiting: set[str]) -> bool:
    match role:
        case "redis":
            return system.redis_serves()
        case "simulator":
            return system.simulator_serves()
        case "web":
            return system.serves()
        case "worker":
            return bool(system.waiting_at_the_queue() - waiting)
        case _:
            return system.beats(role) > beats


def test_a_killed_worker_process_of_the_web_server_is_replaced(system: System) -> None:
    wait_for(lambda: len(system.web_workers()) == 2, seconds=10)
    killed, survivor = system.web_workers()
    killed.kill()
    wait_for(lambda: alive([killed]) == [], seconds=2)
    wait_for(lambda: len(alive(system.web_workers())) == 2, seconds=BACK_WITHIN)
    assert survivor in system.web_workers()
    wait_for(system.serves, seconds=BACK_WITHIN)


def test_a_stop_leaves_nothing_the_next_start_is_quick_and_even_a_kill_leaves_nothing(
    tmp_path: Path,
) -> None:
    with System(tmp_path) as first:
        first.wait_until_it_serves()
        family = first.descendants()
        assert first.stop(signal.SIGTERM) < 5
        assert first.process.returncode == 0, first.output()
        assert alive(family) == []
    with System(tmp_path) as second:
        second.wait_until_it_serves()
        # Processor time, because a busy machine says nothing about the start. On a free one it is
        # about six seconds; one that installs or prepares everything anew takes far more.
        assert second.processor_seconds() < 20
        family = second.descendants()
        assert len(family) >= len(ROLES) + 2
        second.process.send_signal(signal.SIGKILL)
        wait_for(lambda: alive(family) == [], seconds=2)
    kinds = [kind for kind, _ in second.events() if kind in {"STARTED", "STOPPED"}]
    assert kinds == ["STARTED", "STOPPED", "STARTED"]


def test_a_stop_is_in_time_also_when_the_database_does_not_take_it(tmp_path: Path) -> None:
    with System(tmp_path) as system:
        system.wait_until_it_serves()
        family = system.descendants()
        with closing(sqlite3.connect(system.home / "killswitch.sqlite3", timeout=10)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            # Five on a free machine; waiting for the lock once in each process took far longer.
            assert system.stop() < 8
        assert system.process.returncode == 0
        assert alive(family) == []
        assert "the stop is not in the audit log" in system.output()
