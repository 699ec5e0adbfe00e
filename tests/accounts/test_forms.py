"""Which field has the focus: the first, or the one to correct."""

import re

import pytest
from django.test import Client

from killswitch.accounts.models import Role
from tests import factories
from tests.accounts.people import sign_in
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def focused(page: str) -> list[str]:
    fields = re.findall(r"<input[^>]*\bautofocus\b[^>]*>", page)
    return [name for field in fields for name in re.findall(r'name="([^"]+)"', field)]


def test_the_first_field_has_the_focus_and_after_a_mistake_the_wrong_one() -> None:
    factories.person(Role.RISK_OFFICER)
    browser = Client()
    assert focused(html(browser.get("/accounts/login/"))) == ["login"]
    assert focused(html(sign_in(browser, "olga", "not the password"))) == ["password"]
    assert focused(html(sign_in(browser, "", "x"))) == ["login"]


def test_pages_of_an_account_lead_back_to_the_console() -> None:
    browser = Client()
    browser.force_login(factories.person(Role.RISK_OFFICER))
    paths = ("/accounts/password/change/", "/accounts/second-factor/", "/accounts/logout/")
    for path in paths:
        assert '<nav aria-label="Main"><a href="/">Console</a>' in html(browser.get(path)), path
