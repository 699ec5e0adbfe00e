"""How every page looks to a machine: contrast, names, widths, axe. Pictures for people, too."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Page

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from tests import factories
from tests.browser import states
from tests.browser.axe import violations
from tests.browser.conftest import Complaints
from tests.console.test_compression import MAX_CONSOLE_BYTES

PICTURES = os.environ.get("KILLSWITCH_PICTURES", "")
HEIGHT = 900
WIDTHS = (360, 390, 768, 1024, 1280, 1920, 2560)
MAX_FILES_BYTES = 49_000
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
NAMES = (Path(__file__).parent / "names.js").read_text()
CROWDED = (Path(__file__).parent / "crowded.js").read_text()


@pytest.mark.parametrize("name", states.SCENES)
def test_a_page_is_legible_named_and_fits_every_screen(
    page: Page, olga: User, complaints: Complaints, name: str
) -> None:
    states.SCENES[name](page, olga)
    assert page.evaluate(NAMES) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate(CONTRAST) == []
        # Colours change no sizes.
        for width in WIDTHS if scheme == "light" or PICTURES else ():
            page.set_viewport_size({"width": width, "height": HEIGHT})
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert page.evaluate(overflow) <= 0, f"{width} px"
            page.evaluate("scrollTo(0, 0)")  # below the bar, nothing is overprinted
            assert page.evaluate(CROWDED) == [], f"{width} px"
            if PICTURES and width in {390, 1280, 2560}:
                picture(page, f"{name}-{width}-{scheme}")
    assert not any("Content Security Policy" in complaint for complaint in complaints)
    page.set_viewport_size({"width": 1280, "height": HEIGHT})
    assert violations(page) == []
    complaints.forgive()  # axe's own; and some scenes are of failures, which the browser notes


def test_no_word_of_the_ems_is_too_long_for_a_page(page: Page, olga: User) -> None:
    words = {"type": "MESSAGE_REJECT", "reject_reason": "R" * 190, "message": "W" * 900}
    for exchange in factories.exchanges(3):
        request = factories.press(olga, exchange).requests.get()
        factories.bring(request, Status.REJECTED, rejection=words)
    for path in (
        "",
        "alarms/",
        f"requests/{request.uuid}/",
        "requests/",
        f"batches/{request.batch.uuid}/",
    ):
        page.goto(f"/{path}")
        for summary in page.locator(".alarm-items summary, .timeline summary").all():
            summary.click()
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert page.evaluate(overflow) <= 0, f"{path} {width} px"
            if PICTURES:
                picture(page, f"long-{path.partition('/')[0]}-{width}")


def test_a_console_with_sixty_exchanges_is_light(page: Page, olga: User) -> None:
    """Of the scripts and styles htmx is 51,238 bytes, and 16,700 as it arrives."""
    factories.exchanges(60)
    page.goto("/")
    urls: set[str] = set(
        page.evaluate(
            """() => ["navigation", "resource"].flatMap((kind) => performance
              .getEntriesByType(kind).map((entry) => entry.name))
              .filter((name) => !name.includes("/poll/"))"""
        )
    )
    assert {url.split("/")[2] for url in urls} == {page.url.split("/")[2]}
    # The server of the tests serves static files itself, and without compression.
    browser = Client(headers={"Accept-Encoding": "gzip"})
    browser.force_login(olga)
    answers = {url: browser.get(urlsplit(url).path) for url in urls}
    sizes = {url: len(b"".join(answer)) for url, answer in answers.items()}
    sizes = {url: size for url, size in sizes.items() if "/print." not in url}  # is loaded last
    assert sizes.pop(page.url) < MAX_CONSOLE_BYTES
    assert sum(sizes.values()) < MAX_FILES_BYTES, sizes


def test_what_is_printed_has_no_buttons_and_shows_every_answer(page: Page, olga: User) -> None:
    states.record(page, olga)
    page.emulate_media(media="print")
    assert not page.locator("nav, .alarms, a.cut").first.is_visible()
    assert page.locator(".timeline").is_visible()
    if PICTURES:
        picture(page, "print", full=True)


def test_it_can_be_used_in_forced_colours_and_without_motion(page: Page, olga: User) -> None:
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    states.few(page, olga)
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(moving) == 0
    if PICTURES:
        picture(page, "forced-colours")


def picture(page: Page, name: str, *, full: bool = False) -> None:
    folder = Path(PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(150)
    page.screenshot(path=folder / f"{name}.png", full_page=full)
