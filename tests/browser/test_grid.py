"""One grid for all pages, and targets that a finger hits."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from killswitch.accounts.models import Role, User
from tests import factories
from tests.browser import states
from tests.browser.conftest import Complaints, sign_in

WIDTHS = (390, 1280, 1920, 2560)
EDGES = """() => {
  const box = (element) => element.getBoundingClientRect();
  const px = (value) => parseFloat(value);
  const [main, top] = ["main", ".top"].map((selector) => document.querySelector(selector));
  const [inner, header] = [main, top].map((element) => getComputedStyle(element));
  const parts = [...main.children].filter((each) => each.offsetWidth > 1 && each.checkVisibility());
  const edges = {
    left: box(main).left + px(inner.paddingLeft),
    right: box(main).right - px(inner.paddingRight),
    brand: box(document.querySelector(".brand")).left,
    end: box(top).right - px(header.paddingRight),
    first: Math.min(...parts.map((each) => box(each).left)),
    widest: Math.max(...parts.map((each) => box(each).right)),
  };
  return Object.fromEntries(Object.entries(edges).map(([name, x]) => [name, Math.round(x)]));
}"""
# Links inside a sentence are exempt (WCAG 2.5.8), and what only a screen reader meets.
SMALL = """([selector, least]) => {
  const height = (each) => Math.round(each.getBoundingClientRect().height);
  return [...document.querySelectorAll(selector)]
    .filter((each) => each.checkVisibility({ visibilityProperty: true }))
    .filter((each) => !each.closest(".vh, .skip, dialog:not([open])") && height(each) < least)
    .map((each) => `${height(each)}: ${each.outerHTML.slice(0, 90)}`);
}"""
EMERGENCY = "a.cut, .go, .big, .acts .go"
# Rows of one line are chosen by the user, or have as many exchanges as need them.
IN_COMPACT_ROWS = ".compact td a.cut, .groups a.cut"
IN_LISTS = "nav a, td > a, th > a, li > a, .links a, a.hit, .button, summary, select"


@pytest.mark.parametrize("width", WIDTHS)
def test_all_pages_have_the_edges_of_the_header(
    page: Page, olga: User, live_server: Any, complaints: Complaints, width: int
) -> None:
    exchange = factories.exchanges(3)[0]
    batch = factories.press(olga, exchange)
    page.set_viewport_size({"width": width, "height": 900})
    paths = {
        "/",
        "/requests/",
        f"/requests/{batch.requests.get().uuid}/",
        f"/batches/{batch.uuid}/",
        f"/exchanges/{exchange.pk}/",
        "/cancel-all/",
        "/help/",
        "/accounts/password/change/",
        "/nowhere/",
    }
    audit = {"/audit/", "/audit/review/", "/audit/sign-offs/", "/audit/outcomes/"}
    edges = {}
    for path in sorted(paths):
        page.goto(path)
        edges[path] = page.evaluate(EDGES)
        assert page.locator("dialog:visible").count() == 0, path  # none opens by itself
    sign_in(page.context, factories.person(Role.COMPLIANCE), live_server.url)
    for path in sorted(audit):
        page.goto(path)
        edges[path] = page.evaluate(EDGES)
        assert page.locator("dialog:visible").count() == 0, path  # none opens by itself
    sides = {(edge["left"], edge["right"]) for edge in edges.values()}
    assert len(sides) == 1, edges
    for path, edge in edges.items():
        assert edge["brand"] == edge["first"] == edge["left"], (path, edge)
        assert edge["end"] == edge["right"] >= edge["widest"], (path, edge)
    [(left, right)] = sides
    assert right - left >= min(width - 48, 1600), "wide screens are used"
    complaints.forgive()  # of the page that was not found


@pytest.fixture
def phone(browser: Browser, live_server: Any, olga: User) -> Iterator[Page]:
    context = browser.new_context(
        base_url=live_server.url,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
    )
    sign_in(context, olga, live_server.url)
    tab = context.new_page()
    yield tab
    tab.goto("about:blank")
    context.close()


@pytest.mark.parametrize(
    "scene",
    ["few", "requests", "request", "batch", "confirm", "help", "alarms", "exchange", "everywhere"],
)
def test_a_finger_hits_what_it_aims_at(phone: Page, olga: User, scene: str) -> None:
    states.SCENES[scene](phone, olga)
    assert phone.evaluate(SMALL, [EMERGENCY, 44]) == []
    assert phone.evaluate(SMALL, ["main .button", 44]) == []
    assert phone.evaluate(SMALL, [IN_LISTS, 24]) == []


@pytest.mark.parametrize("scene", ["few", "sixty", "everywhere", "request"])
def test_what_is_pressed_in_an_emergency_is_large_for_a_mouse_too(
    page: Page, olga: User, scene: str
) -> None:
    states.SCENES[scene](page, olga)
    large = f":is({EMERGENCY}):not({IN_COMPACT_ROWS})"
    for width in (1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(SMALL, [large, 44]) == []
        assert page.evaluate(SMALL, [IN_COMPACT_ROWS, 28]) == []
