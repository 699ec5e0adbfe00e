"""Fixtures for the tests of the log: an own data directory, genuine files, a reader's browser."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.audit import checkpoints
from killswitch.audit.verification.verify import verify
from killswitch.console import context_processors
from killswitch.readiness.background_cache import BackgroundCache
from killswitch.readiness.judgement import Check, Readiness, judge
from tests import factories
from tests.audit import event_factories
from tests.audit.assertions import Requests, assert_good
from tests.audit.checkpoint_files import happen


@pytest.fixture
def own_home(settings: Any, tmp_path: Path) -> Path:
    """Return a data directory of its own, with a signing key."""
    settings.KILLSWITCH_HOME = tmp_path
    settings.DATABASE_URL = ""
    return tmp_path


@pytest.fixture
def file(own_home: Path) -> Path:
    """Return the path of its checkpoints, which are not written yet."""
    return own_home / checkpoints.FILE


@pytest.fixture
def five(file: Path) -> list[bytes]:
    """Return the lines of five checkpoints over ten events."""
    for _ in range(5):
        happen(2)
        checkpoints.write("ROUND")
    return file.read_bytes().splitlines()


@pytest.fixture
def requests(own_home: Path, unpublished: None) -> Requests:
    """Return the requests of a log that agrees with its tables, with a checkpoint."""
    requests = event_factories.live()
    checkpoints.write("ROUND")
    assert_good(verify())
    return requests


@pytest.fixture
def reader(db: None, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return Carl of compliance's client. The readiness bar needs no database of its own."""
    check = Check(name="ems", label="EMS", ok=True, detail="answers", milliseconds=84.2)
    monkeypatch.setattr(
        context_processors, "READINESS", BackgroundCache(lambda: judge((check,)), fallback=_never)
    )
    client = Client(headers={"User-Agent": "Firefox"}, raise_request_exception=False)
    client.force_login(factories.person(Role.COMPLIANCE))
    return client


def _never() -> Readiness:
    raise AssertionError("the checks are fast")
