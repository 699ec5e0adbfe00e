"""A directory that the file server expects, and people who are signed in."""


import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from tests.browser import scenes


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
