"""Two administrators who do the same at the same instant."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.audit.actors import SYSTEM
from killswitch.audit.models import AuditEvent
from killswitch.exchanges.groups import save_group
from killswitch.exchanges.models import Exchange, ExchangeGroup
from tests import factories
from tests.accounts.people import signed_in
from tests.forms import read_form
from tests.markup import html
from tests.threads import run_at_once

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_databases,
    pytest.mark.usefixtures("limits"),
]
ROUNDS = 3


@pytest.fixture
def ada() -> Client:
    return _confirmed(signed_in(Role.ADMINISTRATOR))


@pytest.fixture
def eve() -> Client:
    return _confirmed(signed_in(Role.ADMINISTRATOR, username="eve", full_name="Eve Low"))


def _confirmed(client: Client) -> Client:
    client.post("/accounts/password/again/", {"password": factories.PASSWORD})
    return client


def _post(client: Client, path: str, **fields: Any) -> Callable[[], Any]:
    client.raise_request_exception = False
    return lambda: client.post(f"/administration/{path}", fields)


def _both(first: Callable[[], Any], second: Callable[[], Any]) -> str:
    """Send both; one succeeds, and the other one gets the form again. Return that page."""
    answers = run_at_once(first, second)
    assert sorted(answer.status_code for answer in answers) == [200, 302]
    return next(html(answer) for answer in answers if answer.status_code == 200)


def test_the_same_exchange_is_added_once(ada: Client, eve: Client) -> None:
    for number in range(ROUNDS):
        form = {"exchange_id": f"KRAKEN{number}", "position": 0, "anyway": "on"}
        page = _both(_post(ada, "exchanges/add/", **form), _post(eve, "exchanges/add/", **form))
        assert "already" in page
        assert Exchange.objects.filter(exchange_id=form["exchange_id"]).count() == 1
    assert AuditEvent.objects.filter(kind="EXCHANGE_ADDED").count() == ROUNDS


def test_two_exchanges_are_not_corrected_to_the_same_id(ada: Client, eve: Client) -> None:
    for number in range(ROUNDS):
        rows = [
            Exchange.objects.create(exchange_id=f"{name}{number}", enabled=False)
            for name in ("AAA", "BBB")
        ]
        form = {"exchange_id": f"CCC{number}", "anyway": "on"}
        paths = [f"exchanges/{row.pk}/" for row in rows]
        shown = [read_form(ada.get(f"/administration/{path}")) for path in paths]
        page = _both(
            _post(ada, paths[0], **shown[0] | form), _post(eve, paths[1], **shown[1] | form)
        )
        assert "already" in page
        assert Exchange.objects.filter(exchange_id=form["exchange_id"]).count() == 1


def test_the_same_user_is_added_once(ada: Client, eve: Client) -> None:
    for number in range(ROUNDS):
        form = {
            "username": f"olga{number}",
            "full_name": "Olga Ray",
            "role": "RISK_OFFICER",
            "password1": "staple battery horse",
            "password2": "staple battery horse",
        }
        page = _both(_post(ada, "people/add/", **form), _post(eve, "people/add/", **form))
        assert "already" in page
        assert User.objects.filter(username=form["username"]).count() == 1
    assert AuditEvent.objects.filter(kind="PERSON_ADDED").count() == ROUNDS


def test_the_same_group_is_added_once(ada: Client, eve: Client) -> None:
    exchange = factories.exchange("KRAKEN")
    for number in range(ROUNDS):
        form = {"name": f"Desk {number}", "position": 0, "exchanges": [exchange.pk]}
        page = _both(_post(ada, "groups/add/", **form), _post(eve, "groups/add/", **form))
        assert "already" in page
        assert ExchangeGroup.objects.filter(name=form["name"]).count() == 1


def test_two_changes_of_a_group_are_not_mixed(ada: Client, eve: Client) -> None:
    save_group(ExchangeGroup(name="Desk"), exchanges=[], by=SYSTEM, origin={})
    path = f"groups/{ExchangeGroup.objects.get().pk}/"
    for number in range(ROUNDS):
        shown = read_form(ada.get(f"/administration/{path}"))
        forms = [shown | {"name": f"{name} {number}"} for name in ("Desk A", "Desk B")]
        page = _both(_post(ada, path, **forms[0]), _post(eve, path, **forms[1]))
        assert "Save again to replace that with yours." in page
    assert AuditEvent.objects.filter(kind="GROUP_CHANGED").count() == ROUNDS


def test_the_runbook_is_not_replaced_unseen(ada: Client, eve: Client) -> None:
    for number in range(ROUNDS):
        shown = read_form(ada.get("/administration/runbook/"))
        forms = [shown | {"text": f"{text} {number}"} for text in ("Call the desk", "Call Eve")]
        page = _both(_post(ada, "runbook/", **forms[0]), _post(eve, "runbook/", **forms[1]))
        assert "Save again to replace that with yours." in page
    assert AuditEvent.objects.filter(kind="RUNBOOK_CHANGED").count() == ROUNDS
