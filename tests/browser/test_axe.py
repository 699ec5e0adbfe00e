"""axe-core on pages that no scene shows. On those of the scenes it looks in `test_looks`."""

from typing import Any

import pytest
from playwright.sync_api import Page

from killswitch.accounts.models import Role, User
from tests import factories
from tests.browser import states
from tests.browser.axe import violations
from tests.browser.conftest import Complaints, sign_in

ADMINISTRATION = (
    "exchanges/",
    "exchanges/add/",
    "groups/",
    "groups/add/",
    "people/",
    "runbook/",
)


def test_axe_finds_nothing_on_a_phone(page: Page, olga: User, complaints: Complaints) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    states.alarms(page, olga)
    assert complaints == []
    assert violations(page) == []
    complaints.forgive()


def test_axe_finds_what_is_wrong(page: Page, olga: User, complaints: Complaints) -> None:
    states.few(page, olga)
    page.evaluate("document.querySelector('#filter').labels[0].remove()")
    page.evaluate("document.querySelector('#filter').placeholder = ''")
    assert any("label" in violation for violation in violations(page))
    complaints.forgive()


def test_axe_finds_a_colour_that_is_too_pale(
    page: Page, olga: User, complaints: Complaints
) -> None:
    states.few(page, olga)
    page.evaluate("document.querySelector('#rows th b').style.color = 'rgb(128 128 128 / 40%)'")
    lines = violations(page)
    for scheme in ("light", "dark"):
        assert any(line.startswith(f"{scheme}: color-contrast") for line in lines)
    complaints.forgive()


@pytest.mark.parametrize("path", ADMINISTRATION)
def test_axe_finds_nothing_on_the_pages_of_administrators(
    page: Page, olga: User, live_server: Any, complaints: Complaints, path: str
) -> None:
    factories.exchanges(2)
    page.context.clear_cookies()
    sign_in(page.context, factories.person(Role.ADMINISTRATOR), live_server.url)
    page.goto(f"/administration/{path}")
    assert complaints == []
    assert violations(page) == []
    complaints.forgive()
