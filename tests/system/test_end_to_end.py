"""The whole system as a user sees it: `manage.py up`, a browser, every fault of the demo."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from killswitch.simulator.demo import DEMO_EXCHANGES
from killswitch.simulator.server import Simulator
from tests.simulator.remote import SimulatorRemote
from tests.supervision.system_process import MANAGE, System

# The demo's books refill after a while; short times for a request keep the test short.
TIMES = {"EMS_TIMEOUT": "2", "CANCEL_DEADLINE": "12"}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path)
    system.environment |= TIMES
    with system:
        system.wait_until_it_serves()
        yield system


@pytest.fixture
def page(system: System, browser: Browser) -> Iterator[Page]:
    """Open the console as Olga, with the password that the start printed."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, system, "olga")
    yield page
    context.close()


def sign_in(page: Page, system: System, name: str) -> None:
    lines = (system.home / "demo-people.txt").read_text().splitlines()
    password = dict(line.split() for line in lines)[name]
    page.goto(f"http://127.0.0.1:{system.port}/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    # Wait for the page's scripts: before that, its links lead to plain pages.
    expect(page.locator("[data-session-ends]")).not_to_be_empty(timeout=15_000)


def request_of(page: Page, exchange_id: str) -> str:
    """Return a selector of the newest request's element in the exchange's row."""
    return f'[data-exchange-id="{exchange_id}"] [data-status]'


@pytest.mark.timeout(180)
def test_an_officer_cancels_one_then_all_and_sees_the_outcome_of_every_fault(
    system: System, page: Page
) -> None:
    simulator = SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}")
    page.locator('[data-exchange-id="KRAKEN/JOHN"] a.cut').click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("KRAKEN/JOHN")
    expect(dialog).to_contain_text("New orders are not blocked.")
    dialog.get_by_role("button", name="Cancel all orders on KRAKEN/JOHN").click()
    expect(dialog.locator('[data-status="CONFIRMED"]')).to_be_visible(timeout=10_000)
    dialog.get_by_role("button", name="Close").click()
    outcome = page.locator(request_of(page, "KRAKEN/JOHN"))
    expect(outcome).to_have_attribute("data-status", "CONFIRMED")
    (call,) = simulator.calls("KRAKEN/JOHN")
    assert json.loads(call.body) == {"exchange_id": "KRAKEN/JOHN"}

    page.locator("#cut-all").click()
    button = dialog.get_by_role("button", name=re.compile("Cancel ALL orders on"))
    button.hover()
    page.mouse.down()
    expect(dialog.locator("[data-request-id]").first).to_be_visible(timeout=10_000)
    page.mouse.up()
    for exchange in DEMO_EXCHANGES:
        expect(
            page.locator(request_of(page, exchange.exchange_id)), exchange.exchange_id
        ).to_have_attribute("data-status", exchange.ends_in, timeout=40_000)
    expect(page.locator("body")).to_contain_text("OKEX/NOT-CONFIGURED")
    rows = dict(system.select("SELECT exchange_id, status FROM cancels_cancelrequest ORDER BY id"))
    assert rows == {exchange.exchange_id: exchange.ends_in for exchange in DEMO_EXCHANGES}


def test_the_command_line_agrees_with_the_page_and_the_ems(system: System, page: Page) -> None:
    process = subprocess.run(
        [sys.executable, MANAGE, "cancel_all", "BINANCE", "--reason", "drill"],
        env=system.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    line = json.loads(process.stdout)
    outcome = page.locator(request_of(page, "BINANCE"))
    expect(outcome).to_have_attribute("data-status", line["status"])
    expect(outcome).to_have_attribute("data-request-id", line["request_id"])
    simulator = SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}")
    assert len(simulator.calls("BINANCE")) == line["attempts"]


def test_a_real_ems_receives_exactly_the_documented_call(tmp_path: Path) -> None:
    """With `EMS_BASE_URL` there is no simulator and no demo user, and the key is in its header."""
    with Simulator(key="secret-of-the-ems") as ems, System(tmp_path) as system:
        system.stop()
        ems.place("KRAKEN", 3)
        environment = system.environment | {
            "EMS_BASE_URL": ems.url,
            "EMS_API_KEY": "secret-of-the-ems",
            "KILLSWITCH_EXCHANGES": "KRAKEN",
        }
        for command in (["prepare"], ["cancel_all", "KRAKEN"]):
            process = subprocess.run(
                [sys.executable, MANAGE, *command],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert process.returncode == 0, process.stderr
            assert "secret-of-the-ems" not in process.stdout + process.stderr
        (call,) = ems.calls("KRAKEN")
        assert (call.path, call.body) == ("/v1/orders/cancel/all", '{"exchange_id": "KRAKEN"}')
        assert call.headers["x-coinapi-key"] == "secret-of-the-ems"
        assert call.headers["content-type"] == "application/json"
        assert ems.really_open("KRAKEN") == 0
