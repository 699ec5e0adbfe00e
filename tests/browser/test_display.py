"""Theme, local time, shortcuts and copied commands, in the browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.models import Batch
from killswitch.cancels.states import Status
from tests import factories
from tests.browser.conftest import Complaints, sign_in, watch
from tests.console.test_help_pages import HINT

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
SUFFIX = "time => getComputedStyle(time, '::after').content"
DARK, LIGHT = "rgb(13, 16, 21)", "rgb(243, 244, 246)"


@pytest.fixture
def desk(
    browser: Browser, live_server: Any, olga: User, complaints: Complaints
) -> Iterator[BrowserContext]:
    """A window in New York, which may use the clipboard."""
    context = browser.new_context(
        base_url=live_server.url,
        timezone_id="America/New_York",
        permissions=["clipboard-read", "clipboard-write"],
    )
    sign_in(context, olga, live_server.url)
    context.on("page", lambda tab: watch(tab, complaints))
    yield context
    for tab in context.pages:
        tab.goto("about:blank")
    context.close()


def choose(page: Page, label: str, *, checked: bool = True) -> None:
    page.locator(".who summary").click()
    with page.expect_response("**/display/"):
        page.get_by_role("checkbox", name=label).set_checked(checked)
    page.keyboard.press("Escape")


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_applied_at_once_and_kept(page: Page, olga: User, system: Any) -> None:
    page.emulate_media(color_scheme=system)
    page.goto("/")
    assert page.evaluate(BACKGROUND) == (DARK if system == "dark" else LIGHT)
    for theme, colour in (("dark", DARK), ("light", LIGHT)):
        page.locator(".who summary").click()
        with page.expect_response("**/display/"):
            page.get_by_label("Theme").select_option(theme)
        assert page.evaluate(BACKGROUND) == colour
        page.goto("/requests/")
        assert page.evaluate(BACKGROUND) == colour
    page.emulate_media(media="print")
    page.goto("/")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


def test_local_time_stands_next_to_utc_and_survives_polls(desk: BrowserContext, olga: User) -> None:
    request = factories.press(olga, factories.exchange("KRAKEN")).requests.get()
    factories.bring(request, Status.SENDING)
    page = desk.new_page()
    page.goto(f"/requests/{request.uuid}/")
    time = page.locator(".timeline time").first
    utc = time.inner_text()
    assert time.evaluate(SUFFIX) == "none"
    time.hover()
    expect(time).to_have_attribute("title", re.compile(r"UTC · .*\d\d:\d\d:\d\d New York"))
    choose(page, "Show local time")
    suffix = re.compile(r'" · (\d+ \w+ )?\d\d:\d\d New York"')
    assert suffix.fullmatch(time.evaluate(SUFFIX).replace('" " "', '" ').replace("  ", " "))
    assert time.inner_text() == utc, "what is copied stays UTC"
    factories.bring(request, Status.CONFIRMED)
    expect(page.locator("article")).to_have_attribute("data-status", "CONFIRMED")
    for each in page.locator(".timeline time[datetime]").all():
        assert "New York" in each.evaluate(SUFFIX)
    page.reload()
    assert "New York" in page.locator(".timeline time").first.evaluate(SUFFIX)
    choose(page, "Show local time", checked=False)
    assert page.locator(".timeline time").first.evaluate(SUFFIX) == "none"


def test_a_browser_in_utc_shows_no_second_time(browser: Browser, page: Page, olga: User) -> None:
    request = factories.press(olga, factories.exchange("KRAKEN")).requests.get()
    page.goto(f"/requests/{request.uuid}/")
    choose(page, "Show local time")
    assert page.locator(".timeline time").first.evaluate(SUFFIX) == "none"


def test_shortcuts_move_the_focus_and_send_nothing(page: Page, olga: User) -> None:
    factories.exchanges(3)
    page.goto("/")
    page.keyboard.press("k")
    expect(page.locator("#cut-all")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("venue02kcg/?")
    expect(page.locator("#filter")).to_have_value("venue02kcg/?")
    page.locator("#filter").fill("venue02")
    page.locator("#filter").blur()
    page.keyboard.press("c")
    expect(page.locator('[data-exchange-id="VENUE02"] a.cut')).to_be_focused()
    for key in "abcdefhijklmnopqrstuvwxyz0123456789":
        page.keyboard.press(key)
    expect(page.locator("#dialog")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("k")
    expect(page.locator("#shortcuts button")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/requests/")
    page.keyboard.press("k")  # this page has no such button
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_function("location.pathname === '/'")
    assert not Batch.objects.exists()


def test_shortcuts_are_off_in_a_question(page: Page, olga: User) -> None:
    factories.exchanges(2)
    page.goto("/")
    page.locator("#cut-all").click()
    expect(page.locator("#dialog [data-back]").first).to_be_focused()
    for key in ("k", "c", "/", "?", "g", "r"):
        page.keyboard.press(key)
    expect(page.locator("#dialog [data-back]").first).to_be_focused()
    expect(page.locator("#shortcuts")).to_be_hidden()
    assert page.evaluate("location.pathname") == "/"


def test_shortcuts_can_be_switched_off(page: Page, olga: User) -> None:
    factories.exchanges(2)
    page.goto("/")
    choose(page, "Keyboard shortcuts", checked=False)
    page.reload()
    page.keyboard.press("k")
    page.keyboard.press("?")
    expect(page.locator("#cut-all")).not_to_be_focused()
    expect(page.locator("#shortcuts")).to_be_hidden()


def test_the_hint_is_dismissed_in_place(page: Page, olga: User) -> None:
    page.goto("/")
    with page.expect_response("**/display/"):
        page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text(HINT)).to_have_count(0)
    page.reload()
    expect(page.get_by_text(HINT)).to_have_count(0)


def test_the_manual_commands_of_all_exchanges_are_copied_as_they_are(
    desk: BrowserContext, olga: User, complaints: Complaints
) -> None:
    names = ["BINANCE", "KRAKEN/JOHN", "O'NEIL"]
    for name in names:
        factories.exchange(name)
    page = desk.new_page()
    page.goto("/requests/")
    page.wait_for_timeout(1200)
    page.route("**/poll/*", lambda route: route.abort())
    page.locator("#banner details summary").click(timeout=8000)
    commands = page.locator("#banner pre").all_inner_texts()
    assert [re.search(r"exchange_id", command) is not None for command in commands] == [True] * 3
    page.get_by_label("Copy the command for KRAKEN/JOHN").click()
    expect(page.locator("#announce")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == commands[1]
    page.get_by_role("button", name="Copy all 3 commands").click()
    page.wait_for_timeout(100)
    assert page.evaluate("navigator.clipboard.readText()").split("\n") == commands
    complaints.forgive()
