"""Each test starts with fresh sign-in limits."""

from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from killswitch.accounts.models import Role
from tests.accounts.mfa.codes import Clock
from tests.accounts.people import signed_in


@pytest.fixture
def limits(db: None) -> Iterator[None]:
    """Clear the counters: they are in a cache that rollback and flush may not reach."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ada(limits: None) -> Client:
    """The browser in which an administrator has signed in."""
    return signed_in(Role.ADMINISTRATOR)


@pytest.fixture
def set_password(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that sets the password that commands read from the environment."""
    return lambda password: monkeypatch.setenv("KILLSWITCH_PASSWORD", password)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which codes are checked."""
    return Clock(monkeypatch)
