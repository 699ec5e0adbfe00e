"""A session that the database knows to be over opens no break glass, even if its cookie does."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from killswitch.accounts.backends import SessionStore
from killswitch.accounts.models import Role, User
from killswitch.break_glass import outage
from killswitch.runtime.postgresql_kept.base import MAX_OPEN, MAX_RESERVED
from killswitch.simulator.server import Simulator
from tests import factories
from tests.break_glass.conftest import forget_failure
from tests.threads import holding_connections

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def no_failure(settings: Any, tmp_path: Any) -> None:
    settings.KILLSWITCH_HOME = tmp_path
    forget_failure()


@pytest.fixture
def olga() -> User:
    return factories.person(Role.RISK_OFFICER)


@pytest.fixture
def browser(olga: User, settings: Any) -> Client:
    client = Client()
    client.force_login(olga)
    assert settings.OFFICER_COOKIE_NAME in client.get("/").cookies
    return client


def sign_out(olga: User, session_key: str) -> None:
    SessionStore(session_key).delete()


def disable(olga: User, session_key: str) -> None:
    User.objects.filter(pk=olga.pk).update(is_active=False)


def change_role(olga: User, session_key: str) -> None:
    User.objects.filter(pk=olga.pk).update(role=Role.COMPLIANCE)


def change_password(olga: User, session_key: str) -> None:
    olga.set_password("another password of hers")
    olga.save()


@pytest.mark.parametrize("note_failure", [forget_failure, outage.note_failure])
@pytest.mark.parametrize("end", [sign_out, disable, change_role, change_password])
def test_a_cookie_of_a_session_that_has_ended_sends_nothing(  # noqa: PLR0917 - fixtures
    browser: Client,
    olga: User,
    simulator: Simulator,
    settings: Any,
    end: Callable[[User, str], None],
    note_failure: Callable[[], None],
) -> None:
    question = browser.post("/break-glass/", {"exchange": "KRAKEN"})
    assert question.status_code == 400
    sent = {"exchange": "KRAKEN", "key": question.context["offer"].key}
    end(olga, browser.cookies[settings.SESSION_COOKIE_NAME].value)
    note_failure()  # a database that cannot record may still be read
    response = browser.post("/break-glass/", sent)
    assert response.status_code == 403
    assert "Nothing was sent." in response.content.decode()
    assert simulator.calls("KRAKEN") == []


@pytest.mark.only_on("postgresql")
def test_a_session_that_has_ended_is_noticed_while_pages_use_all_other_connections(
    browser: Client, olga: User, settings: Any
) -> None:
    session_key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    sign_out(olga, session_key)
    connection.close()
    with holding_connections(MAX_OPEN - MAX_RESERVED):
        assert outage.was_revoked(session_key)


def test_a_session_that_is_valid_or_cannot_be_looked_up_is_not_revoked(
    browser: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_key = browser.cookies[settings.SESSION_COOKIE_NAME].value
    assert not outage.was_revoked(session_key)

    def fail(*_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(outage, "get_user", fail)
    assert not outage.was_revoked(session_key)
    monkeypatch.setattr(outage, "get_user", lambda _: time.sleep(5))
    monkeypatch.setattr(outage, "MAX_LOOKUP_S", 0.05)
    assert not outage.was_revoked(session_key)
