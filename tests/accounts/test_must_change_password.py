"""A password that an administrator chose is changed before anything else."""

from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.accounts.reconciliation import REPLAYED_USERS
from killswitch.accounts.services import add_user, change_own_password, save_user
from killswitch.audit.actors import SYSTEM
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import EventKind
from killswitch.audit.verification.findings import no_progress
from killswitch.cancels.models import CancelRequest
from tests import factories
from tests.accounts.people import data, events, sign_in
from tests.audit.log import record
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases, pytest.mark.usefixtures("limits")]
CHANGE = "/accounts/password/change/"
FRESH = "a much better one 7"
FORM = {"oldpassword": factories.PASSWORD, "password1": FRESH, "password2": FRESH}


@pytest.fixture
def browser() -> Client:
    factories.person(Role.RISK_OFFICER, must_change_password=True)
    client = Client()
    assert sign_in(client, "olga").status_code == 302
    return client


def test_nothing_else_works_until_then(browser: Client, settings: Any) -> None:
    assert settings.OFFICER_COOKIE_NAME not in browser.cookies  # which opens break glass
    exchange = factories.exchange("KRAKEN")
    for path in ("/", "/requests/", "/cancel-all/", f"/exchanges/{exchange.pk}/cancel-all/"):
        assert browser.get(path)["Location"] == CHANGE, path
        assert browser.post(path, {"key": "x"}).status_code in {302, 405}, path
    for path in ("/accounts/second-factor/", "/accounts/second-factor/set-up/"):
        assert browser.get(path)["Location"] == CHANGE, path
    poll = browser.get("/poll/", headers={"HX-Request": "true"})
    assert (poll.status_code, poll.content) == (401, b"Change your password first.")
    assert not CancelRequest.objects.exists()
    page = html(browser.get(CHANGE))
    assert "An administrator chose your password." in page
    assert ">Back</a>" not in page
    assert browser.post("/accounts/logout/").status_code == 302


def test_after_that_it_leads_back_to_what_the_person_was_doing(
    browser: Client, settings: Any
) -> None:
    path = "/cancel-all/?reason=runaway"
    assert browser.get(path)["Location"] == CHANGE
    assert browser.post(CHANGE, FORM)["Location"] == path
    assert settings.OFFICER_COOKIE_NAME in browser.get("/").cookies
    (event,) = events("PASSWORD_CHANGED")
    assert data(event)["changes"] == {"must_change_password": [True, False]}


def test_without_a_page_to_return_to_it_leads_home(browser: Client) -> None:
    assert browser.post(CHANGE, FORM)["Location"] == "/"
    assert browser.post(CHANGE, FORM | {"oldpassword": FRESH}).status_code == 200


def test_the_same_password_again_is_not_a_change(browser: Client) -> None:
    same = FORM | {"password1": factories.PASSWORD, "password2": factories.PASSWORD}
    page = browser.post(CHANGE, same)
    assert "Choose a password that differs from your current one." in html(page)
    assert User.objects.get().must_change_password


def test_with_a_required_second_factor_the_password_comes_first(
    browser: Client, settings: Any
) -> None:
    settings.SECOND_FACTOR = "required"
    assert browser.get("/")["Location"] == CHANGE
    assert browser.get(CHANGE).status_code == 200
    location = browser.post(CHANGE, FORM)["Location"]
    assert browser.get(location)["Location"] == "/accounts/second-factor/set-up/"


def test_the_next_change_by_the_same_person_records_no_more(browser: Client) -> None:
    browser.post(CHANGE, FORM)
    again = {"oldpassword": FRESH, "password1": FRESH[::-1], "password2": FRESH[::-1]}
    browser.post(CHANGE, again)
    assert data(events("PASSWORD_CHANGED")[-1])["changes"] == {}


def test_a_password_from_the_command_line_is_not_forced() -> None:
    """Its operator chose it, and tells nobody over a screen."""
    user = add_user(username="nora", role=Role.COMPLIANCE, password=factories.PASSWORD, by=SYSTEM)
    assert not User.objects.get().must_change_password
    save_user(user, password_hash=make_password(FRESH), by=SYSTEM)
    assert not User.objects.get().must_change_password


def test_whether_it_is_forced_is_compared_with_the_log() -> None:
    user = add_user(username="nora", role=Role.COMPLIANCE, password=factories.PASSWORD, by=SYSTEM)
    user.must_change_password = True
    save_user(user, password_hash=make_password(FRESH), by=SYSTEM)
    assert _findings() == []
    User.objects.update(must_change_password=False)
    (finding,) = _findings()
    assert "user nora: must_change_password is False, but event" in finding
    User.objects.update(must_change_password=True)
    change_own_password(user=User.objects.get(), password=FRESH[::-1], origin={})
    assert _findings() == []


def test_a_person_who_was_inserted_is_found_although_their_password_was_changed() -> None:
    factories.person(Role.RISK_OFFICER, username="mallory")
    names = {"person": "Mallory", "username": "mallory"}
    record(NewEvent(kind=EventKind.PASSWORD_CHANGED, data={**names, "changes": {}}))
    (finding,) = _findings()
    assert "user mallory is in the table, but no event says that it was added" in finding


def _findings() -> list[str]:
    return [finding.reason for finding in REPLAYED_USERS.discrepancies(None, no_progress)]


@pytest.mark.parametrize("page", ["//evil.example/", "///requests/", "/\\evil.example/"])
def test_it_leads_to_no_other_website(browser: Client, page: str) -> None:
    headers = {"HX-Current-URL": f"http://testserver{page}"}
    assert browser.get("/requests/", headers=headers)["Location"] == CHANGE
    assert browser.post(CHANGE, FORM)["Location"] == "/"
