"""A kill without progress raises an alarm on every open page: `manage.py up`, real browsers."""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.supervision.system_process import System
from tests.system.test_end_to_end import request_of, sign_in

SILENT = "BITMEX/SILENT"
STALLED_AFTER_S = 5.0  # without progress, as promised to officers
ALARM_TIMEOUT_S = 15.0  # on a busy machine


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Start a system with the default times: 10 s for a call, 60 s for a request."""
    with System(tmp_path) as system:
        system.wait_until_it_serves()
        yield system


@pytest.fixture
def pages(system: System, browser: Browser) -> Iterator[list[Page]]:
    """Open the consoles of a risk officer, of the same one elsewhere, and of compliance."""
    contexts = [browser.new_context() for _ in range(3)]
    pages = [context.new_page() for context in contexts]
    for page, name in zip(pages, ["olga", "olga", "carl"], strict=True):
        sign_in(page, system, name)
    yield pages
    for context in contexts:
        context.close()


@pytest.mark.timeout(120)
def test_five_seconds_without_progress_are_an_alarm_on_every_open_page(
    system: System, pages: list[Page]
) -> None:
    page = pages[0]
    page.locator(f'[data-exchange-id="{SILENT}"] a.cut').click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Cancel all orders on {SILENT}").click()
    requested_at = time.monotonic()
    expect(page.locator(request_of(page, SILENT))).to_have_attribute("data-status", "SENDING")
    for open_page in pages:
        timeout_s = requested_at + STALLED_AFTER_S + ALARM_TIMEOUT_S - time.monotonic()
        alarm = open_page.locator(
            "#alarms .alarm", has_text=f"{SILENT}: stuck for 5 s while sending the cancel."
        )
        expect(alarm).to_be_visible(timeout=max(timeout_s, 0.001) * 1000)
    ((claimed_at, raised_at),) = system.select(
        "SELECT first_claimed_at, raised_at FROM cancels_cancelrequest, alarms_alarm"
        " WHERE kind = 'STALLED'"
    )
    delay = datetime.fromisoformat(raised_at) - datetime.fromisoformat(claimed_at)
    assert delay.total_seconds() >= STALLED_AFTER_S
    expect(page.locator(request_of(page, SILENT))).to_have_attribute(
        "data-status", re.compile("SENDING|VERIFYING")
    )
