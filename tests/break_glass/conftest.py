"""A host of its own for each test: its data directory, and a press as a web process makes one."""

import resource
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from killswitch.accounts.models import User
from killswitch.break_glass import cancelling
from killswitch.break_glass.cancelling import RunningPress
from killswitch.break_glass.journal import Journal
from killswitch.break_glass.journal_record import TimedJournal
from killswitch.break_glass.press import Press
from tests.conftest import wait_for

PressNow = Callable[..., RunningPress]


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.KILLSWITCH_HOME = tmp_path
    return tmp_path


@pytest.fixture
def journal(home: Path) -> Journal:
    return Journal(home)


@pytest.fixture
def break_glass(journal: Journal, settings: Any) -> PressNow:
    """Cancel on these exchanges without the database, and wait until it is over."""

    def press(
        *exchange_ids: str, by: User | None = None, wait: bool = True, **fields: Any
    ) -> RunningPress:
        values: dict[str, Any] = {
            "press": str(uuid.uuid4()),
            "nonce": cancelling.new_nonce(),
            "user_id": by.pk if by else None,
            "by_name": by.actor.name if by else "os:root",
            "by_role": by.actor.role if by else "OPERATING_SYSTEM",
            "asked_at": cancelling.utc_now(),
            "reason": "Drill",
            "reason_altered": False,
            "origin": cancelling.ORIGIN,
            "deadline_ms": round(settings.CANCEL_DEADLINE * 1000),
            "requests": tuple(cancelling.new_request(name, None) for name in exchange_ids),
        }
        running = cancelling.start(Press(**values | fields), journal=TimedJournal(journal))
        wait_for(lambda: running.is_over or not wait, seconds=30)
        return running

    return press


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """Let this process make no file longer than this; a write that does not fit is cut."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
