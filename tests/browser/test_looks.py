"""How every page looks to a machine: contrast, names, widths, weight. Pictures for people, too."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from killswitch.accounts.models import User
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from tests.browser import scenes

PICTURES = os.environ.get("KILLSWITCH_PICTURES", "")
HEIGHT = 900
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
NAMES = (Path(__file__).parent / "names.js").read_text()
Scene = Callable[[Page, User], None]


def few(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto("/")


def sixty(page: Page, olga: User) -> None:
    scenes.sixty(olga)
    page.goto("/")


def calm(page: Page, olga: User) -> None:
    scenes.calm(olga)
    page.goto("/")


def stale(page: Page, olga: User) -> None:
    scenes.console(olga)
    scenes.look(ago=95)
    page.goto("/")


def question(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator('[data-exchange-id="BITSTAMP/2574"] a.cut').click()
    page.wait_for_selector("#dialog [name=key]", state="attached")


def everywhere(page: Page, olga: User) -> None:
    few(page, olga)
    page.locator("#cut-all").click()
    page.locator("#dialog [data-hold]").click()


def pressed(page: Page, olga: User) -> None:
    everywhere(page, olga)
    page.locator("#dialog [data-second]").click()
    page.wait_for_selector("#dialog .batch")


def no_answer(page: Page, olga: User) -> None:
    question(page, olga)
    page.route("**/cancel-all/", lambda route: route.abort())
    page.locator("#dialog [data-go]").click()
    page.wait_for_selector("#dialog [data-no-answer]")


def lost(page: Page, olga: User) -> None:
    few(page, olga)
    page.wait_for_timeout(1200)
    page.route("**/poll/*", lambda route: route.abort())
    page.wait_for_selector("#banner", timeout=6000)


def record(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto(f"/requests/{CancelRequest.objects.get(status='RESIDUAL').uuid}/")


def unknown(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto(f"/requests/{CancelRequest.objects.get(status='UNKNOWN').uuid}/")


def requests(page: Page, olga: User) -> None:
    scenes.console(olga)
    page.goto("/requests/")


def batch(page: Page, olga: User) -> None:
    made = scenes.calm(olga, 5)
    asked = scenes.press(olga, *made, everywhere=True)
    statuses = ("CONFIRMED", "REJECTED", "RESIDUAL", "SENDING", "UNKNOWN")
    for each, status in zip(asked.requests.order_by("id"), statuses, strict=True):
        scenes.bring(each, Status(status))
    page.goto(f"/batches/{asked.uuid}/")


def confirm(page: Page, olga: User) -> None:
    scenes.console(olga, alarms=False)
    page.goto("/cancel-all/")


def missing(page: Page, olga: User) -> None:
    page.goto("/nowhere/")


def strip(page: Page, olga: User) -> None:
    calm(page, olga)
    page.locator("[data-strip] summary").click()


SCENES: dict[str, Scene] = {
    "few": few,
    "sixty": sixty,
    "calm": calm,
    "stale": stale,
    "question": question,
    "everywhere": everywhere,
    "pressed": pressed,
    "no-answer": no_answer,
    "lost": lost,
    "request": record,
    "request-unknown": unknown,
    "requests": requests,
    "batch": batch,
    "confirm": confirm,
    "missing": missing,
    "strip": strip,
}


@pytest.mark.parametrize("name", SCENES)
def test_a_page_is_legible_named_and_fits_every_screen(
    page: Page, olga: User, complaints: list[str], name: str
) -> None:
    SCENES[name](page, olga)
    assert page.evaluate(NAMES) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
        for width in (360, 390, 768, 1280, 2560):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert page.evaluate(overflow) <= 0, f"{width} px"
            if PICTURES and width in {390, 1280, 2560}:
                picture(page, f"{name}-{width}-{scheme}")
    complaints.clear()  # some scenes are of failures, which the browser notes


def test_a_console_with_sixty_exchanges_is_light(page: Page, olga: User) -> None:
    scenes.calm(olga, 60)
    page.goto("/")
    weights: dict[str, Any] = page.evaluate(
        """() => Object.fromEntries(["navigation", "resource"].flatMap((kind) => performance
          .getEntriesByType(kind)
          .filter((entry) => !entry.name.includes("/poll/"))
          .map((entry) => [entry.name, entry.decodedBodySize])))"""
    )
    assert sum(weights.values()) < 120_000, weights
    assert {name.split("/")[2] for name in weights} == {page.url.split("/")[2]}


def test_what_is_printed_has_no_buttons_and_shows_every_answer(page: Page, olga: User) -> None:
    record(page, olga)
    page.emulate_media(media="print")
    assert not page.locator("nav, .alarms, a.cut").first.is_visible()
    assert page.locator(".timeline").is_visible()
    if PICTURES:
        picture(page, "print", full=True)


def test_it_can_be_used_in_forced_colours_and_without_motion(page: Page, olga: User) -> None:
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    few(page, olga)
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    assert page.evaluate(moving) == 0
    if PICTURES:
        picture(page, "forced-colours")


def picture(page: Page, name: str, *, full: bool = False) -> None:
    folder = Path(PICTURES)
    folder.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(150)
    page.screenshot(path=folder / f"{name}.png", full_page=full)
