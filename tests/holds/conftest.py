"""People who are signed in."""

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.exchanges.models import Exchange
from tests import factories
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga
from tests.holds import holding

__all__ = ["_readiness_without_a_database", "compliance", "officer", "olga"]


@pytest.fixture
def kraken(db: None) -> Exchange:
    return factories.exchange("KRAKEN", orders=14)


@pytest.fixture
def ivan(db: None) -> User:
    """A second risk officer."""
    return holding.ivan()


@pytest.fixture
def second_officer(ivan: User) -> Client:
    """His browser."""
    client = Client()
    client.force_login(ivan)
    return client
