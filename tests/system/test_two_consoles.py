"""Two consoles on two ports of one host name, such as UAT and production, in one browser."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import wait_for
from tests.supervision.system_process import System


@pytest.fixture
def consoles(tmp_path: Path) -> Iterator[list[System]]:
    """Start the web processes of a UAT and a production console, each with its own database."""
    with ExitStack() as stack:
        systems = []
        for environment in ("uat", "production"):
            home = tmp_path / environment
            home.mkdir()
            system = System(home, only="web")
            system.environment["KILLSWITCH_ENVIRONMENT"] = environment
            system.prepare()
            systems.append(stack.enter_context(system))
        for system in systems:
            wait_for(system.serves, seconds=120)
        yield systems


def address_of(system: System) -> str:
    return f"http://127.0.0.1:{system.port}/"


def sign_in(page: Page, system: System) -> None:
    lines = (system.home / "demo-people.txt").read_text().splitlines()
    page.goto(address_of(system))
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill(dict(line.split() for line in lines)["olga"])
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    expect(page.locator("[data-session]")).to_be_attached(timeout=15_000)


@pytest.mark.timeout(300)
def test_a_browser_stays_signed_in_to_both(consoles: list[System], browser: Browser) -> None:
    uat, production = consoles
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, uat)
    sign_in(page, production)
    for system in consoles:
        page.goto(address_of(system))
        expect(page).to_have_url(address_of(system))
        expect(page.locator("[data-session]")).to_be_attached()
    page.goto(f"{address_of(production)}accounts/logout/")
    page.get_by_role("button", name=re.compile("sign out", re.IGNORECASE)).click()
    page.goto(address_of(production))
    expect(page).to_have_url(re.compile("/accounts/login/"))
    page.goto(address_of(uat))
    expect(page).to_have_url(address_of(uat))
    context.close()
