"""The second factor in a real browser: set up from the menu, asked for at the next sign-in."""

import time
from typing import Any

from playwright.sync_api import Browser, Page, expect

from killswitch.accounts.models import User
from tests import factories
from tests.accounts.mfa import codes
from tests.browser import states
from tests.browser.conftest import Complaints


def type_password(tab: Page) -> None:
    tab.get_by_label("Name").fill("olga")
    tab.get_by_label("Password").fill(factories.PASSWORD)
    tab.get_by_role("button", name="Sign in").click()


def test_it_is_set_up_from_the_menu_and_then_asked_for(
    page: Page, olga: User, browser: Browser, live_server: Any
) -> None:
    factories.exchanges(2)
    page.goto("/")
    page.locator(".who summary").click()
    page.get_by_role("link", name="Second factor").click()
    page.get_by_role("link", name="Set up").click()
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Continue").click()
    secret = page.locator(".secret").inner_text().replace(" ", "")
    assert page.locator("svg.qr").bounding_box()["width"] > 150  # type: ignore[index]
    page.get_by_label("Code from the app").fill(codes.code_at(secret, time.time()))
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".codes li")).to_have_count(10)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "recovery-codes.txt"

    plain = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    other = plain.new_page()
    other.goto("/requests/")
    type_password(other)
    expect(other.get_by_role("heading", name="Enter your code")).to_be_visible()
    field = other.get_by_label("Code")
    assert field.get_attribute("autocomplete") == "one-time-code"
    assert field.get_attribute("inputmode") == "numeric"
    field.fill(codes.code_at(secret, time.time() + 30))
    other.keyboard.press("Enter")
    expect(other).to_have_url(f"{live_server.url}/requests/")
    plain.close()


def test_with_the_password_alone_the_address_of_a_page_opens_nothing(
    page: Page, olga: User
) -> None:
    states.code(page, olga)
    for path in ("/", "/cancel-all/", "/requests/"):
        page.goto(path)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_where_it_is_required_an_open_page_is_told_so_and_leads_there(
    page: Page, olga: User, complaints: Complaints, settings: Any
) -> None:
    factories.exchanges(2)
    page.goto("/")
    settings.SECOND_FACTOR = "required"
    expect(page.locator("#banner")).to_be_visible(timeout=8000)
    page.goto("/cancel-all/")
    complaints.forgive()  # the browser noted each 401
    expect(page.get_by_role("heading", name="Confirm your password")).to_be_visible()
