"""A host of its own for each test: its data directory, and a press as a web process makes one."""

import resource
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from killswitch.accounts.models import User
from killswitch.break_glass import execution, outage
from killswitch.break_glass.execution import RunningPress
from killswitch.break_glass.journal import Journal, TimedJournal
from killswitch.break_glass.journal_reader import Line
from killswitch.break_glass.press import Presser, new_press
from killswitch.runtime import shutdown
from tests.conftest import wait_for

PressNow = Callable[..., RunningPress]


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.KILLSWITCH_HOME = tmp_path
    return tmp_path


def forget_failure() -> None:
    """Let this process believe that the database has never failed."""
    outage._LastFailure.at = float("-inf")


@pytest.fixture(autouse=True)
def kills_end_with_the_test() -> Iterator[None]:
    """End the cancels that a test has not waited for: they would go on during the next ones."""
    yield
    shutdown.STOP.set()
    wait_for(lambda: all(row.name != "kill" for row in threading.enumerate()), seconds=30)
    shutdown.STOP.clear()


@pytest.fixture
def journal(home: Path) -> Journal:
    return Journal(home)


@pytest.fixture
def break_glass(journal: Journal) -> PressNow:
    """Cancel on these exchanges without the database, and wait until it is over."""

    def press_now(
        *exchange_ids: str, by: User | None = None, wait: bool = True, **fields: Any
    ) -> RunningPress:
        presser = Presser(
            user_id=by.pk if by else None,
            name=by.actor.name if by else "os:root",
            role=by.actor.role if by else "OPERATING_SYSTEM",
            gesture="",
        )
        press = new_press(exchange_ids, everywhere=False, snapshot=None, by=presser, reason="Drill")
        press = replace(press, **{"holder": ""} | fields)
        running = execution.start(press, journal=TimedJournal(journal))
        wait_for(lambda: running.is_over or not wait, seconds=30)
        return running

    return press_now


def keep_only(journal: Journal, lines: Sequence[Line]) -> None:
    """Leave these lines, as a process leaves them that is killed after them."""
    journal.path.write_text("".join(f"{line.text}\n" for line in lines))
    journal._keep_head(lines[-1])


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Let this process make no file longer than this; a write that does not fit is cut."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
