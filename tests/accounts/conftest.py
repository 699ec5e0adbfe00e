"""Each test starts with fresh sign-in limits."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache

from tests.accounts.mfa.codes import Clock


@pytest.fixture
def limits(db: None) -> Iterator[None]:
    """The counters live in a cache that no test's rollback or flush reaches for certain."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time by which codes are judged."""
    return Clock(monkeypatch)
