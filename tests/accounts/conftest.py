"""Each test starts with fresh sign-in limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache


@pytest.fixture(autouse=True, scope="session")
def _a_directory_for_static_files() -> None:
    """The middleware that serves them warns when there is none."""
    Path(django_settings.STATIC_ROOT).mkdir(exist_ok=True)


@pytest.fixture
def limits(db: None) -> Iterator[None]:
    """The counters live in a cache that no test's rollback or flush reaches for certain."""
    cache.clear()
    yield
    cache.clear()
