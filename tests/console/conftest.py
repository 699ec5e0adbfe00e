"""A directory that the file server expects, and people who are signed in."""

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.console import readiness_bar
from killswitch.readiness.background_cache import BackgroundCache
from killswitch.readiness.health_checks import Check, Readiness, judge
from tests.alarms.conftest import alarm
from tests.browser import scenes

__all__ = ["alarm"]


@pytest.fixture
def olga(db: None) -> User:
    """A risk officer."""
    return scenes.person(Role.RISK_OFFICER)


@pytest.fixture
def officer(olga: User) -> Client:
    """Her browser."""
    client = Client()
    client.force_login(olga)
    return client


@pytest.fixture
def compliance(db: None) -> Client:
    """The browser of somebody who may look and not touch."""
    client = Client()
    client.force_login(scenes.person(Role.COMPLIANCE))
    return client


@pytest.fixture(autouse=True)
def _readiness_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real look writes with a connection of its own, which waits for the test's transaction."""
    check = Check(name="ems", label="EMS", ok=True, detail="answers", milliseconds=84.2)
    monkeypatch.setattr(
        readiness_bar, "READINESS", BackgroundCache(lambda: judge((check,)), otherwise=_never)
    )


def _never() -> Readiness:
    raise AssertionError("the look does not take long")
