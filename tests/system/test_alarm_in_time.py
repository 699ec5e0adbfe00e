"""A kill that makes no progress is called out on every open page: `manage.py up`, real browsers."""

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
STANDS_STILL = 5.0  # seconds without progress, as an officer is promised
TOLD_WITHIN = 5.0  # seconds after that


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """With the times that people use: a call may last 10 s, a request 60 s."""
    with System(tmp_path) as running:
        running.wait_until_it_serves()
        yield running


@pytest.fixture
def pages(system: System, browser: Browser) -> Iterator[list[Page]]:
    """The consoles of a risk officer, of the same one elsewhere, and of compliance."""
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
    presser = pages[0]
    presser.locator(f'[data-exchange-id="{SILENT}"] a.cut').click()
    dialog = presser.get_by_role("dialog")
    dialog.get_by_role("button", name=f"Cancel all on {SILENT}").click()
    pressed = time.monotonic()
    expect(presser.locator(request_of(presser, SILENT))).to_have_attribute("data-status", "SENDING")
    for page in pages:
        left = pressed + STANDS_STILL + TOLD_WITHIN - time.monotonic()
        alarm = page.locator(
            "#alarms .alarm", has_text=f"{SILENT}: stuck for 5 s while sending the cancel."
        )
        expect(alarm).to_be_visible(timeout=max(left, 0.001) * 1000)
        expect(alarm).to_contain_text(
            "In this time no process claimed it, and no attempt and no check ended."
        )
    ((claimed, raised),) = system.select(
        "SELECT first_claimed_at, raised_at FROM cancels_cancelrequest, alarms_alarm"
        " WHERE kind = 'STALLED'"
    )
    waited = datetime.fromisoformat(raised) - datetime.fromisoformat(claimed)
    assert waited.total_seconds() >= STANDS_STILL
    expect(presser.locator(request_of(presser, SILENT))).to_have_attribute(
        "data-status", re.compile("SENDING|VERIFYING")
    )
