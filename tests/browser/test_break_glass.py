"""The page of a break-glass cancel: on screens and paper, and when the server does not answer."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from killswitch.accounts.models import User
from killswitch.break_glass import press_registry
from killswitch.break_glass.execution import RunningPress
from killswitch.break_glass.press import END, Presser, RequestState, new_press
from killswitch.break_glass.press_registry import PressRegistry
from killswitch.cancels.states import Status
from tests.browser.axe import violations
from tests.browser.conftest import Complaints
from tests.browser.test_records import OVERFLOW

WIDTHS = (360, 768, 1280)


@pytest.fixture
def press(olga: User, tmp_path: Path, settings: Any) -> Iterator[RunningPress]:
    """A cancel of this process that runs until it is told its end, and has no record."""
    settings.KILLSWITCH_HOME = tmp_path
    presser = Presser(user_id=olga.pk, name=olga.actor.name, role=olga.actor.role, gesture="")
    pressed = new_press(
        ["KRAKEN"], everywhere=False, snapshot=None, by=presser, reason="Runaway algorithm"
    )
    (row,) = pressed.requests
    state = RequestState(
        request=row.request,
        exchange_id=row.exchange_id,
        status=Status.SENDING,
        not_journaled="No space left on device",
    )
    has_ended = threading.Event()
    thread = threading.Thread(target=has_ended.wait, daemon=True)
    thread.start()
    press = RunningPress(press=pressed, states=[state], threads=[thread])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(press_registry, "PROCESS", PressRegistry())
        press_registry.PROCESS._presses[pressed.press] = press
        yield press
        has_ended.set()


def test_a_cancel_that_is_not_updated_says_so_and_goes_on_afterwards(
    page: Page, press: RunningPress, complaints: Complaints
) -> None:
    page.goto("/")  # which makes the browser known
    page.goto(f"/break-glass/{press.press.press}/")
    expect(page.locator(".summary")).to_have_text("0 of 1 confirmed, 1 running.")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width
    assert complaints == []
    assert violations(page) == []
    page.emulate_media(media="print")
    for words in ("Olga", "Runaway algorithm", press.press.press, "No record could be kept"):
        expect(page.locator("#break-glass-press")).to_contain_text(words)
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    page.emulate_media(media="screen")
    complaints.forgive()
    page.context.set_offline(True)
    notice = page.get_by_text("Not updated since")
    expect(notice).to_be_visible(timeout=8000)
    page.context.set_offline(False)
    end = {"status": "CONFIRMED", "conclusion": "No orders are open.", "open_after": 0}
    press.states[0].apply(END, end)
    expect(page.locator(".summary")).to_have_text("1 of 1 confirmed.")
    expect(notice).to_be_hidden()
    expect(page.locator("#announce")).to_have_text("1 of 1 confirmed.")


def test_a_cancel_that_is_not_in_the_log_yet_is_found_from_every_page(
    page: Page, press: RunningPress
) -> None:
    page.goto("/")
    link = page.get_by_role("link", name="Show cancels sent without the log")
    expect(link).to_be_hidden()
    press_registry.PROCESS.pending = 1
    expect(page.locator("#banner")).to_contain_text("is still running")
    link.click()
    page.get_by_role("dialog").get_by_role("link", name="KRAKEN").click()
    expect(page.locator("#break-glass-press .summary")).to_contain_text("1 running")
    press_registry.PROCESS.pending = 0
    page.keyboard.press("Escape")
    expect(page.locator("#banner")).to_be_hidden()
