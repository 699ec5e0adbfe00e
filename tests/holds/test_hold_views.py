"""Holding an exchange from its row: the question, what starts, and what cannot be recorded."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from killswitch.accounts.models import Role, User
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.services import complete_reason
from killswitch.exchanges.models import Exchange
from killswitch.holds.models import Hold
from tests import factories
from tests.accounts.people import data, events
from tests.console.press_helpers import HTMX
from tests.failures import commit_without_answer, commits, full_log, lose_connection
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]
LIMITS = (
    "Hold cancels what it sees on the EMS's list. It does not block new orders, and cannot stop"
    " one that fills at once."
)


def path(exchange: Exchange) -> str:
    return f"/exchanges/{exchange.pk}/hold/"


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_the_question_says_what_is_cancelled_at_once_and_what_a_hold_is(
    officer: Client, kraken: Exchange, headers: dict[str, str]
) -> None:
    answer = officer.get(path(kraken), headers=headers)
    page = html(answer).replace("&#x27;", "'")
    assert "Hold KRAKEN?" in page
    assert "14 open orders</b> on KRAKEN, as of" in page
    assert "A cancel for them is sent as soon as the Hold starts" in page
    assert "two risk officers release it" in page
    assert LIMITS in page
    assert ("<html" in page) == (not headers)
    assert "no-store" in answer["Cache-Control"]
    assert not Hold.objects.exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"orders": None}, "The number of open orders is not known."),
        ({"orders": 0}, "The EMS has never listed an order of VENUE."),
    ],
)
def test_it_never_claims_that_nothing_is_open(
    officer: Client, fields: dict[str, Any], sentence: str
) -> None:
    page = html(officer.get(path(factories.exchange("VENUE", **fields))))
    assert sentence in page
    assert "A cancel is sent whenever the EMS lists an order." in page


def test_a_hold_starts_with_its_reason_and_no_cancel_of_its_own(
    officer: Client, kraken: Exchange
) -> None:
    fields = {"reason": ["Runaway algorithm", "strategy 7"]}
    answer = officer.post(path(kraken), fields, headers=HTMX)
    hold = Hold.objects.get()
    assert answer.status_code == 201
    assert (hold.exchange_id, hold.started_by) == ("KRAKEN", "Olga Ray (olga)")
    assert hold.reason == "Runaway algorithm: strategy 7"
    assert hold.batch is None
    assert not CancelRequest.objects.exists()
    event = AuditEvent.objects.get(kind=EventKind.HOLD_STARTED)
    assert event.actor == "Olga Ray (olga)"
    assert "KRAKEN is held" in html(answer)
    assert "KRAKEN is held already" not in html(answer)


def test_a_plain_browser_is_led_to_a_page_that_can_be_reloaded(
    officer: Client, kraken: Exchange
) -> None:
    answer = officer.post(path(kraken))
    assert (answer.status_code, answer["Location"]) == (303, path(kraken))
    page = html(officer.get(path(kraken)))
    assert "KRAKEN is held" in page
    assert f'href="/exchanges/{kraken.pk}/release/"' in page
    assert "Hold KRAKEN?" not in page


def test_a_reason_that_is_added_to_the_press_is_the_reason_of_its_hold(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    batch = factories.press(olga, kraken, hold=True)
    assert "no reason given" in html(officer.get(path(kraken)))
    complete_reason(batch=batch, user=olga, reason="strategy 7 ran away")
    page = html(officer.get(path(kraken)))
    assert "strategy 7 ran away" in page
    assert f'href="/batches/{batch.uuid}/"' in page


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_holding_a_held_exchange_is_the_same_hold(
    officer: Client, kraken: Exchange, ivan: User, headers: dict[str, str]
) -> None:
    holding.start(ivan, kraken)
    count = AuditEvent.objects.count()
    answer = officer.post(path(kraken), {"reason": "again"}, headers=headers)
    page = html(answer)
    assert answer.status_code == 200
    assert "KRAKEN is held already" in page
    assert "It was already held. Nothing was changed." in page
    assert "Ivan Petrov (ivan)" in page
    assert Hold.objects.get().reason == "Drill"
    assert AuditEvent.objects.count() == count


def test_a_disabled_exchange_can_be_held(officer: Client) -> None:
    off = factories.exchange("OFF", enabled=False)
    assert "A Hold still cancels there." in html(officer.get(path(off)))
    assert officer.post(path(off), headers=HTMX).status_code == 201


def test_an_exchange_that_does_not_exist_has_a_sentence(officer: Client) -> None:
    for number in ("999", "99999999999999999999999"):
        for page in ("hold", "release"):
            answer = officer.get(f"/exchanges/{number}/{page}/")
            assert answer.status_code == 404
            assert "This exchange does not exist here." in html(answer)


@pytest.mark.parametrize("page", ["hold", "release"])
@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("role", [Role.COMPLIANCE, Role.ADMINISTRATOR])
def test_other_roles_are_denied_and_that_is_recorded(
    kraken: Exchange, page: str, method: str, role: Role
) -> None:
    client = Client()
    client.force_login(factories.person(role))
    answer = getattr(client, method)(f"/exchanges/{kraken.pk}/{page}/")
    assert answer.status_code == 403
    assert not Hold.objects.exists()
    (event,) = events("DENIED")
    assert data(event)["permission"] == "HOLD"


def test_a_visitor_is_led_back_to_the_filled_question(kraken: Exchange) -> None:
    answer = Client().post(path(kraken), {"reason": ["Drill", "of the month"]}, headers=HTMX)
    assert answer.status_code == 401
    assert f"%2Fexchanges%2F{kraken.pk}%2Fhold%2F%3Freason%3DDrill" in answer["X-Sign-In"]
    assert not Hold.objects.exists()


def test_a_form_with_an_old_token_comes_back_filled(olga: User, kraken: Exchange) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(olga)
    answer = strict.post(path(kraken), {"reason": ["Drill", "of the month"]})
    page = html(answer)
    assert answer.status_code == 403
    assert "This page was out of date, so nothing was held. Please confirm again." in page
    assert 'value="of the month"' in page
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    foreign = strict.post(path(kraken), headers=evil)
    assert foreign.status_code == 403
    assert "Another website sent this form" in html(foreign)
    assert not Hold.objects.exists()


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_hold_that_cannot_be_recorded_says_that_nothing_is_held(
    officer: Client, kraken: Exchange, headers: dict[str, str]
) -> None:
    with full_log():
        answer = officer.post(path(kraken), {"reason": ["Drill", "x"]}, headers=headers)
    assert (answer.status_code, answer["X-Recorded"]) == (503, "no")
    assert f'href="{path(kraken)}?reason=Drill%3A+x"' in html(answer)
    assert "The Hold could not be recorded, so nothing was held." in html(answer)
    assert not Hold.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_commit_without_an_answer_is_looked_up(officer: Client, kraken: Exchange) -> None:
    with commits(commit_without_answer):
        answer = officer.post(path(kraken))
    assert answer.status_code == 303
    assert Hold.objects.count() == 1
    factories.change(Hold.objects.get(), state="ACTIVE")


@pytest.mark.django_db(transaction=True)
def test_a_commit_that_fails_holds_nothing(officer: Client, kraken: Exchange) -> None:
    with commits(lose_connection):
        answer = officer.post(path(kraken), headers=HTMX)
    assert answer.status_code == 503
    assert not Hold.objects.exists()


def test_where_it_cannot_be_looked_up_it_is_not_known(
    officer: Client, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([None])

    def read_once(_exchange: Exchange) -> None:
        try:
            return next(states)
        except StopIteration:
            raise OperationalError("gone") from None

    monkeypatch.setattr("killswitch.holds.views._state", read_once)
    with full_log():
        answer = officer.post(path(kraken), headers=HTMX)
    assert answer.status_code == 503
    assert "X-Recorded" not in answer
    assert "It is not known whether the Hold was recorded" in html(answer)
    assert "nothing was held" not in html(answer)


@pytest.mark.parametrize("method", ["put", "delete", "patch"])
def test_no_other_method_does_anything(officer: Client, kraken: Exchange, method: str) -> None:
    for page in ("hold", "release"):
        assert getattr(officer, method)(f"/exchanges/{kraken.pk}/{page}/").status_code == 405


def test_a_hold_says_that_orders_last_only_when_they_do(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    """Orders that were seen once and are gone have not been listed "since" then."""
    now = timezone.now()
    row = holding.start(olga, kraken, orders_since=now, last_order_at=now)
    page = officer.get(f"/exchanges/{kraken.pk}/release/").content.decode()
    assert "has kept listing" not in page
    factories.change(row, orders_since=now - timedelta(seconds=31))
    page = officer.get(f"/exchanges/{kraken.pk}/release/").content.decode()
    assert "The EMS has kept listing open orders since" in page
