"""The people of these tests, and their browsers."""

import json
from typing import Any

from django.http import HttpResponseBase
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent
from tests import factories

PASSWORD = factories.PASSWORD

NAMES = {
    Role.RISK_OFFICER: ("rita", "Rita Moss"),
    Role.COMPLIANCE: ("carol", "Carol Dean"),
    Role.ADMINISTRATOR: ("adam", "Adam West"),
}


def make(role: Role, **fields: Any) -> User:
    """Create a person of this role, with the usual password."""
    username, full_name = NAMES[role]
    return factories.person(role, **{"username": username, "full_name": full_name} | fields)


def sign_in(
    client: Client, username: str, password: str = PASSWORD, **extra: Any
) -> HttpResponseBase:
    """Fill in the sign-in form."""
    return client.post("/accounts/login/", {"login": username, "password": password}, **extra)


def signed_in(role: Role, **fields: Any) -> Client:
    """Return a browser in which a new person of this role has signed in."""
    user = make(role, **fields)
    client = Client()
    assert sign_in(client, user.username).status_code == 302
    return client


def data(event: AuditEvent) -> dict[str, Any]:
    """Return the data of an event."""
    data: dict[str, Any] = json.loads(event.data)
    return data


def events(*kinds: str) -> list[AuditEvent]:
    """Return the audit events of these kinds, oldest first."""
    return list(AuditEvent.objects.filter(kind__in=kinds).order_by("seq"))
