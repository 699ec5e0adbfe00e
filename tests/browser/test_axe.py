"""axe-core finds nothing to complain of, on any page, in any state, in light and dark."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from killswitch.accounts.models import Role, User
from tests.browser import scenes, states
from tests.browser.conftest import sign_in

ADMIN = (
    "/admin/",
    "/admin/exchanges/exchange/",
    "/admin/exchanges/exchange/add/",
    "/admin/accounts/user/",
    "/admin/accounts/user/add/",
)
VIOLATIONS = {"resultTypes": ["violations"]}
# All of them in one scheme; in the other, those that look at colours.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": VIOLATIONS,
    "dark": {**VIOLATIONS, "runOnly": ["color-contrast", "link-in-text-block"]},
}
# Colours that are still on their way to the other scheme are nobody's contrast.
SETTLED = """() => Promise.all(document.getAnimations()
  .filter((each) => each instanceof CSSTransition).map((each) => each.finished))"""


@pytest.fixture
def window(browser: Browser, live_server: Any, olga: User) -> Iterator[BrowserContext]:
    """axe writes styles of its own, which the policy of our pages would refuse."""
    made = browser.new_context(
        base_url=live_server.url, viewport={"width": 1280, "height": 900}, bypass_csp=True
    )
    sign_in(made, olga, live_server.url)
    yield made
    made.close()


@pytest.fixture
def tab(window: BrowserContext) -> Iterator[Page]:
    made = window.new_page()
    yield made
    made.goto("about:blank")
    made.close()


def violations(tab: Page) -> list[str]:
    """What axe finds, in both schemes, each with the elements it means."""
    found = []
    for scheme, options in RULES.items():
        tab.emulate_media(color_scheme=scheme)
        tab.evaluate(SETTLED)
        for each in Axe().run(tab, options=options).response["violations"]:
            nodes = [node["html"][:160] for node in each["nodes"]]
            found.append(f"{scheme}: {each['id']}: {each['help']}: {nodes}")
    return found


@pytest.mark.parametrize("name", states.SCENES)
def test_axe_finds_nothing(tab: Page, olga: User, name: str) -> None:
    states.SCENES[name](tab, olga)
    assert violations(tab) == []


def test_axe_finds_nothing_on_a_phone(tab: Page, olga: User) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    states.alarms(tab, olga)
    assert violations(tab) == []


def test_axe_finds_what_is_wrong(tab: Page, olga: User) -> None:
    states.few(tab, olga)
    tab.evaluate("document.querySelector('#filter').labels[0].remove()")
    tab.evaluate("document.querySelector('#filter').placeholder = ''")
    assert any("label" in each for each in violations(tab))


@pytest.mark.parametrize("path", ADMIN)
def test_axe_finds_nothing_on_the_pages_of_administrators(
    tab: Page, olga: User, live_server: Any, path: str
) -> None:
    scenes.calm(olga, 2)
    tab.context.clear_cookies()
    sign_in(tab.context, scenes.person(Role.ADMINISTRATOR), live_server.url)
    tab.goto(path)
    assert violations(tab) == []
