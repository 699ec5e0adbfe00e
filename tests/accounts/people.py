"""How people sign in, and what the audit log then holds."""

import json
from typing import Any

from django.http import HttpResponseBase
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.audit.models import AuditEvent
from tests import factories


def sign_in(
    client: Client, username: str, password: str = factories.PASSWORD, **extra: Any
) -> HttpResponseBase:
    """Fill in the sign-in form."""
    return client.post("/accounts/login/", {"login": username, "password": password}, **extra)


def signed_in(role: Role, **fields: Any) -> Client:
    """Return a browser in which a new person of this role has signed in."""
    user = factories.person(role, **fields)
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
