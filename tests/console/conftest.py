"""People who are signed in, and a readiness that needs no database."""

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.console import context_processors
from killswitch.readiness.background_cache import BackgroundCache
from killswitch.readiness.judgement import Check, Readiness, judge
from tests import factories
from tests.alarms.conftest import alarm

__all__ = ["alarm"]


@pytest.fixture
def olga(db: None) -> User:
    """A risk officer."""
    return factories.person(Role.RISK_OFFICER)


@pytest.fixture
def officer(olga: User) -> Client:
    """Her browser."""
    client = Client()
    client.force_login(olga)
    return client


@pytest.fixture
def compliance(db: None) -> Client:
    """The browser of a person who can see everything and change no order."""
    client = Client()
    client.force_login(factories.person(Role.COMPLIANCE))
    return client


@pytest.fixture(autouse=True)
def _readiness_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real checks write with another connection, which waits for the test's transaction."""
    check = Check(name="ems", label="EMS", ok=True, detail="answers", milliseconds=84.2)
    monkeypatch.setattr(
        context_processors, "READINESS", BackgroundCache(lambda: judge((check,)), fallback=_never)
    )


def _never() -> Readiness:
    raise AssertionError("the look does not take long")
