"""A page that stays open while the system changes: `manage.py up` and a real browser."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import wait_for
from tests.console.test_compression import MAX_CONSOLE_BYTES
from tests.simulator.remote import SimulatorRemote
from tests.supervision.system_process import System
from tests.system.test_end_to_end import TIMES, request_of, sign_in

LOST = re.compile("No response from the console since")
# Records layout shifts outside of the dialog, and collects the statuses that the grid has shown.
# The text of a button may change, which moves its centred words but not the button.
WATCH = """() => {
  // In the block of what needs attention a request that ends makes room for the next, the newest
  // cancel comes first, the dialog is as wide as its result, an alarm's title follows the count.
  const apart = "dialog, #attention, #latest, .alarm-text, #alarm-count";
  const inside = (node) => (node?.closest ? node : node?.parentElement)?.closest(apart);
  const label = (node) => node?.nodeType === Node.TEXT_NODE && node.parentElement.closest("a.cut");
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const { value, sources } of list.getEntries())
      for (const { node } of sources)
        if (!inside(node) && !label(node))
          shifted.push(`${value} ${(node?.outerHTML || node?.data || "gone").slice(0, 80)}`);
  }).observe({ type: "layout-shift" });
  window.seen = new Set();
  const rows = document.getElementById("rows");
  new MutationObserver(() => {
    for (const cell of rows.querySelectorAll("[data-status]")) seen.add(cell.dataset.status);
  }).observe(rows, { subtree: true, childList: true, attributes: true });
}"""
MORE = [f"VENUE{number:02}" for number in range(1, 49)]  # sixty with the demo's twelve


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path)
    # Sixty kills on a busy machine need more than the time of one.
    system.environment |= TIMES | {"CANCEL_DEADLINE": "30", "KILLSWITCH_EXCHANGES": " ".join(MORE)}
    with system:
        system.wait_until_it_serves()
        yield system


@pytest.fixture
def page(system: System, browser: Browser) -> Iterator[Page]:
    """Open Olga's console, with a mark that a reload would lose."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    sign_in(page, system, "olga")
    expect(page.locator("[data-session-ends]")).not_to_be_empty()
    page.evaluate("window.mark = 'the same page'")
    yield page
    context.close()


def open_confirmation(page: Page, exchange_id: str) -> None:
    page.locator(f'[data-exchange-id="{exchange_id}"] a.cut').click()
    expect(page.locator("#dialog [name=key]")).to_be_attached()


def rows(system: System) -> list[tuple[str, str]]:
    return system.select("SELECT exchange_id, status FROM cancels_cancelrequest ORDER BY id")


@pytest.mark.timeout(180)
def test_a_page_survives_a_restart_of_the_server_without_a_reload(
    system: System, page: Page
) -> None:
    open_confirmation(page, "KRAKEN/JOHN")
    page.locator("#press-words").fill("typed before the fall")
    system.process.kill()
    system.process.wait()
    wait_for(lambda: not system.serves(), seconds=10)
    expect(page.locator("#banner")).to_contain_text(LOST, timeout=5000)
    expect(page.locator("[data-dialog-banner]")).to_contain_text(LOST)
    assert page.title().startswith("(!) ")
    # The outcome of this request is not known; its key settles it once the server is back.
    page.locator("#dialog .go").click()
    block = page.locator("#dialog [data-no-answer]")
    expect(block).to_contain_text("not known whether this request was recorded", timeout=8000)
    with system:
        system.wait_until_it_serves()
        expect(page.locator("#banner")).to_be_hidden(timeout=8000)
        block.locator("button").click()
        expect(page.locator("#dialog-title")).to_contain_text("exchange, requested at")
        confirmed = page.locator('#dialog [data-status="CONFIRMED"]')
        expect(confirmed).to_be_visible(timeout=15_000)
        assert page.evaluate("window.mark") == "the same page"
        assert rows(system) == [("KRAKEN/JOHN", "CONFIRMED")]


@pytest.mark.timeout(180)
def test_a_server_that_hangs_is_announced_until_it_answers_again(
    system: System, page: Page
) -> None:
    processes = [*system.web_workers(), system.main_processes()["web"]]
    try:
        for process in processes:
            os.kill(process.pid, signal.SIGSTOP)
        expect(page.locator("#banner")).to_contain_text(LOST, timeout=5500)
        expect(page.locator("#ready-word")).to_have_text("NOT KNOWN", use_inner_text=True)
    finally:
        for process in processes:
            if psutil.pid_exists(process.pid):
                os.kill(process.pid, signal.SIGCONT)
    expect(page.locator("#banner")).to_be_hidden(timeout=15_000)
    assert page.evaluate("window.mark") == "the same page"


@pytest.mark.timeout(180)
def test_sixty_exchanges_at_once_by_keyboard_with_live_progress_and_a_stable_layout(
    system: System, page: Page
) -> None:
    simulator = SimulatorRemote(f"http://127.0.0.1:{system.simulator_port}")
    for exchange_id in MORE:
        simulator.place(exchange_id, 2)
    expect(page.locator("#rows tr")).to_have_count(60)
    expect(page.locator("#uncovered li")).to_have_count(1)
    # The observer has seen them all: the last one was placed last.
    expect(page.locator(f'#rows [data-exchange-id="{MORE[-1]}"] td.fig b')).to_have_text("2")
    page.evaluate(WATCH)
    page.locator("#cut-all").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog-title")).to_contain_text("on 60 exchanges?")
    expect(page.locator("#dialog [data-back]")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#dialog [data-press-and-hold]")).to_be_focused()
    for _ in range(25):
        page.keyboard.down("Space")
        page.wait_for_timeout(50)
    page.keyboard.up("Space")
    expect(page.locator("#dialog .outcomes li")).to_have_count(60)
    expect(page.locator("#dialog-title")).to_be_focused()
    # The slowest: the demo's faults use up the whole time of a request.
    summary = page.locator("#dialog .summary")
    expect(summary).to_have_text(
        re.compile(r"\d+ of 60 confirmed(?!.*(not sent yet|sending|checking))"), timeout=90_000
    )
    # The demo's market goes on, so some exchanges have orders again.
    text = summary.inner_text()
    counts = re.findall(r"(\d+) of 60 confirmed|(\d+) with orders open again", text)
    assert sum(int(one or other) for one, other in counts) == 55, text
    retry = re.compile(r"Retry now on these \d+ exchanges")
    expect(page.get_by_role("button", name=retry)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#cut-all")).to_be_focused()
    expect(page.locator("#tally")).to_have_text(re.compile(r"^\s*60 · \d+ need attention\s*$"))
    assert len(rows(system)) == 60
    assert {simulator.really_open(exchange_id) for exchange_id in MORE} == {0}
    seen = set(page.evaluate("[...seen]"))
    assert seen & {"SENDING", "VERIFYING"}, "the grid followed while it went on"
    assert page.evaluate("shifted") == []
    assert page.evaluate("window.mark") == "the same page"


@pytest.mark.timeout(180)
def test_two_tabs_show_each_others_requests(system: System, page: Page) -> None:
    other = page.context.new_page()
    other.goto(page.url)
    open_confirmation(other, "BINANCE")
    open_confirmation(page, "BINANCE")
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog .batch")).to_be_visible()
    expect(other.locator(request_of(other, "BINANCE"))).to_have_count(1, timeout=5000)
    other.locator("#dialog .go").click()  # its own confirmation, so its own request
    expect(other.locator("#dialog-title")).to_contain_text(
        re.compile("^Cancel all on 1 exchange, requested at"), use_inner_text=True
    )
    for tab in (page, other):
        expect(tab.locator("#latest li", has_text="BINANCE")).to_have_count(2, timeout=5000)
    assert len(rows(system)) == 2


def test_a_page_arrives_compressed(page: Page) -> None:
    response = page.reload()
    assert response
    assert response.header_value("Content-Encoding") == "gzip"
    assert response.request.sizes()["responseBodySize"] < MAX_CONSOLE_BYTES
