"""The rehearsal does everything but the POST, opens no database, and keeps its result."""

import os
import shutil
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from killswitch.break_glass import exchange_snapshot, rehearsal, upkeep
from killswitch.break_glass.exchange_snapshot import KnownExchange, Snapshot
from killswitch.break_glass.journal import FILE, Journal
from killswitch.runtime.files import open_locked
from killswitch.simulator.server import Simulator
from tests.break_glass.conftest import disk_full_after
from tests.cancels.kills import always


@pytest.fixture(autouse=True)
def ready(home: Path, simulator: Simulator, settings: Any) -> None:
    """Prepare a host on which all steps work. Without a mark, pytest refuses it a database."""
    settings.EMS_TIMEOUT, settings.EMS_API_KEY = 1, "hunter2"
    exchange_snapshot.write(home, snapshot())


def snapshot(*, enabled: bool = True) -> Snapshot:
    kraken = KnownExchange(
        id=1,
        exchange_id="KRAKEN",
        name="",
        enabled=enabled,
        caveat="",
        ever_listed=True,
        open_orders=None,
        seen_at=None,
    )
    return Snapshot(exchanges=[kraken], groups={})


def failing_steps() -> dict[str, str]:
    return {step.name: step.detail for step in rehearsal.rehearse() if not step.ok}


def test_every_step_works_and_no_cancel_is_sent(home: Path, simulator: Simulator) -> None:
    assert failing_steps() == {}
    assert simulator.calls() == []
    assert len(simulator.calls(method="GET")) == 1
    last = rehearsal.read(home)
    assert last
    assert (last.failures, last.succeeded_at) == ([], last.at)
    assert Journal(home).read().lines == []
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "hunter2" not in path.read_text()


def no_ems(_home: Path, simulator: Simulator) -> None:
    simulator.stop()


def wrong_key(_home: Path, simulator: Simulator) -> None:
    simulator.script("*", list=always("unauthorised"))


def unreadable_list(_home: Path, simulator: Simulator) -> None:
    simulator.script("*", list=always("server_error", status=500))


def no_file_for_the_journal(home: Path, _simulator: Simulator) -> None:
    (home / FILE).unlink()
    (home / FILE).mkdir()


def no_snapshot(home: Path, _simulator: Simulator) -> None:
    (home / exchange_snapshot.FILE).unlink()


def half_a_snapshot(home: Path, _simulator: Simulator) -> None:
    (home / exchange_snapshot.FILE).write_text('{"exchanges": [')


def old_snapshot(home: Path, _simulator: Simulator) -> None:
    two_minutes_ago = time.time() - 120
    os.utime(home / exchange_snapshot.FILE, (two_minutes_ago, two_minutes_ago))


def all_disabled(home: Path, _simulator: Simulator) -> None:
    exchange_snapshot.write(home, snapshot(enabled=False))


@pytest.mark.parametrize(
    ("fault", "step", "detail"),
    [
        (no_ems, "EMS", "cannot be read"),
        (wrong_key, "EMS", "401"),
        (unreadable_list, "EMS", "500"),
        (no_file_for_the_journal, "Journal", "cannot be written (Is a directory)"),
        (no_snapshot, "Exchanges", "there is no file"),
        (half_a_snapshot, "Exchanges", "cannot be read"),
        (old_snapshot, "Exchanges", "1 enabled, last known 2 min ago"),
        (all_disabled, "Exchanges", "0 enabled"),
    ],
)
def test_a_step_that_fails_is_named_and_the_last_success_is_kept(
    fault: Callable[[Path, Simulator], None],
    step: str,
    detail: str,
    home: Path,
    simulator: Simulator,
) -> None:
    rehearsal.rehearse()
    succeeded = rehearsal.read(home)
    assert succeeded
    fault(home, simulator)
    failures = failing_steps()
    assert list(failures) == [step]
    assert detail in failures[step]
    last = rehearsal.read(home)
    assert last
    assert last.succeeded_at == succeeded.at < last.at
    assert last.failures == [f"{step}: {failures[step]}"]
    assert simulator.calls() == []


def test_a_full_disk_fails_the_journal_and_the_result(home: Path) -> None:
    with disk_full_after(0):
        failures = failing_steps()
    assert failures == {
        "Journal": "cannot be written (File too large)",
        "Result": "cannot be kept (File too large)",
    }
    assert rehearsal.read(home) is None


def test_a_data_directory_that_is_gone_fails_the_journal_and_the_result(home: Path) -> None:
    shutil.rmtree(home)
    assert list(failing_steps()) == ["Journal", "Exchanges", "Result"]


def rewind(home: Path, seconds: float, *, failures: str = "[]", succeeded: bool = True) -> None:
    """Leave a result of some time ago, on a host that has succeeded before or never."""
    at = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    succeeded_at = f'"{at}"' if succeeded else "null"
    result = f'{{"at": "{at}", "succeeded_at": {succeeded_at}, "failures": {failures}}}'
    (home / rehearsal.FILE).write_text(result)


def test_a_host_rehearses_once_an_hour_and_soon_after_a_failure(
    home: Path, simulator: Simulator
) -> None:
    def rehearsals() -> int:
        upkeep.Upkeep(home).rehearse_if_due()
        return len(simulator.calls(method="GET"))

    assert [rehearsals(), rehearsals()] == [1, 1]
    rewind(home, upkeep.REHEARSAL_INTERVAL_S - 10)
    assert rehearsals() == 1
    rewind(home, upkeep.REHEARSAL_INTERVAL_S)
    assert rehearsals() == 2
    rewind(home, upkeep.REHEARSAL_CHECK_INTERVAL_S, failures='["EMS: down"]')
    assert rehearsals() == 2
    rewind(home, upkeep.RETRY_INTERVAL_S, failures='["EMS: down"]')
    assert rehearsals() == 3
    rewind(home, 0, failures='["EMS: down"]', succeeded=False)
    assert rehearsals() == 3
    # What a host that has just started lacks is there a moment later.
    rewind(
        home, upkeep.REHEARSAL_CHECK_INTERVAL_S, failures='["Exchanges: unknown"]', succeeded=False
    )
    assert rehearsals() == 4
    rewind(home, upkeep.REHEARSAL_INTERVAL_S)
    with open_locked(home / upkeep.REHEARSAL_LOCK, timeout_s=1):  # another process rehearses
        assert rehearsals() == 4
