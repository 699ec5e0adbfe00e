"""Lists, forms and reports: on every screen, on a phone, scrolled, and on paper."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from killswitch.accounts.models import Role, User
from killswitch.audit.models import EventKind
from killswitch.audit.review import ReviewInput, record_review
from killswitch.cancels.states import Status
from killswitch.exchanges.models import ExchangeGroup, UncoveredExchange
from tests import factories
from tests.audit import request_factories
from tests.browser import test_audit as audit
from tests.browser.axe import violations
from tests.browser.conftest import sign_in
from tests.browser.test_grid import EDGES
from tests.browser.test_records import OVERFLOW, failed_batch, pages_of, residual

WIDTHS = (360, 390, 768, 1280, 1920, 2560)
MAX_SHIFT = 0.02
# Words of which a line ends in the middle. Ids and hashes, which may be long, are exempt.
BROKEN_WORDS = """() => {
  const range = document.createRange();
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const broken = new Set();
  while (nodes.nextNode()) {
    const { data, parentElement } = nodes.currentNode;
    if (parentElement.closest("code, pre, .vh, svg") || !parentElement.checkVisibility()) continue;
    for (const word of data.matchAll(/[\\p{L}\\d:._]+/gu)) {
      if (word[0].length > 18) continue;
      range.setStart(nodes.currentNode, word.index);
      range.setEnd(nodes.currentNode, word.index + word[0].length);
      const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
      if (new Set(boxes.map((box) => Math.round(box.top))).size > 1) broken.add(word[0]);
    }
  }
  return [...broken];
}"""
SHIFTS = """() => new Promise((done) => {
  new PerformanceObserver((list) => done(
    list.getEntries().reduce((sum, entry) => sum + entry.value, 0)
  )).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(0), 300);
})"""
SORTED_BY_HAND = "nav, form, .button, .alarms, .banner, .drop, .held, dialog"


@pytest.fixture
def window(browser: Browser, live_server: Any, olga: User) -> Iterator[BrowserContext]:
    """A window in which nobody has signed in yet."""
    made = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    yield made
    for tab in made.pages:
        tab.goto("about:blank")
    made.close()


def signed_in(window: BrowserContext, user: User, live_server: Any) -> Page:
    sign_in(window, user, live_server.url)
    return window.new_page()


def test_the_pages_of_administrators_fit_every_screen_whatever_is_entered(
    window: BrowserContext, live_server: Any
) -> None:
    rows = factories.exchanges(12)
    factories.exchange("X" * 150, name="Y" * 180, orders=None, caveat="Z" * 200, contact="W" * 200)
    factories.exchange("KRAKEN/JOHN", name="Venue number 3 of the second desk in London", orders=9)
    UncoveredExchange.objects.create(exchange_id="V" * 300, open_orders=120_000)
    group = ExchangeGroup.objects.create(name="G" * 100)
    group.exchanges.set(rows)
    factories.person(Role.RISK_OFFICER, username="u" * 100, full_name="L" * 150)
    page = signed_in(window, factories.person(Role.ADMINISTRATOR), live_server)
    paths = (
        "exchanges/",
        "exchanges/add/",
        f"groups/{group.pk}/",
        "groups/",
        "people/",
        "runbook/",
    )
    sides = {width: set() for width in WIDTHS}  # type: dict[int, set[tuple[int, int]]]
    for path in paths:
        page.goto(f"/administration/{path}")
        assert page.evaluate(SHIFTS) < MAX_SHIFT, path
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(OVERFLOW) <= 0, (path, width)
            assert page.evaluate(BROKEN_WORDS) == [], (path, width)
            edges = page.evaluate(EDGES)
            assert edges["brand" if width > 900 else "first"] == edges["first"] == edges["left"]
            assert edges["widest"] <= edges["right"], (path, width)
            sides[width].add((edges["left"], edges["right"]))
    assert {width for width, edges in sides.items() if len(edges) > 1} == set()


def test_the_pages_of_compliance_break_no_word_on_a_phone(
    window: BrowserContext, live_server: Any
) -> None:
    audit.filled()
    page = signed_in(window, factories.person(Role.COMPLIANCE), live_server)
    for path in ("", "review/", "sign-offs/", "events/4/"):
        page.goto(f"/audit/{path}")
        assert page.evaluate(SHIFTS) < MAX_SHIFT, path
        for width in (360, 390, 768):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(OVERFLOW) <= 0, (path, width)
            assert page.evaluate(BROKEN_WORDS) == [], (path, width)


def test_the_heads_of_the_log_stay_in_sight_below_the_bar(
    window: BrowserContext, live_server: Any
) -> None:
    audit.filled()
    page = signed_in(window, factories.person(Role.COMPLIANCE), live_server)
    page.goto("/audit/")
    page.evaluate("scrollTo(0, 700)")
    head, bar = page.locator(".log thead th").nth(1).bounding_box(), page.locator(".top")
    covered = bar.bounding_box()
    assert head
    assert covered
    assert head["y"] == pytest.approx(covered["y"] + covered["height"], abs=1)


def test_axe_finds_nothing_on_a_query_that_asks_an_officer(
    window: BrowserContext, live_server: Any, olga: User
) -> None:
    factories.press(olga, *factories.exchanges(2))
    query = {"mark": EventKind.QUERIED, "note": "Which desk?", "by": request_factories.CARL}
    record_review(ReviewInput(seqs=[1], origin={}, **query))  # type: ignore[arg-type]
    page = signed_in(window, olga, live_server)
    page.goto("/audit/queries/")
    assert page.locator("textarea").count() == 1
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width
    assert violations(page) == []


def test_every_page_on_paper_says_what_it_is_and_for_whom_and_has_no_controls(
    window: BrowserContext, live_server: Any, olga: User
) -> None:
    batch = factories.press(olga, *factories.exchanges(2))
    factories.bring(batch.requests.first() or batch.requests.get(), Status.RESIDUAL)
    carl = factories.person(Role.COMPLIANCE)
    administrator = factories.person(Role.ADMINISTRATOR)
    record = (f"/batches/{batch.uuid}/", f"/batches/{batch.uuid}/evidence/")
    paths = {
        carl: ("/", "/requests/", *record, "/alarms/", "/help/", "/audit/", "/audit/review/"),
        administrator: ("/administration/exchanges/", "/administration/people/", "/help/"),
    }
    page = window.new_page()
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 between its margins
    for user, pages in paths.items():
        sign_in(window, user, live_server.url)
        for path in pages:
            page.goto(path)
            line = page.locator(".printed")
            assert f"UTC for {user}" in line.inner_text(), path
            assert page.get_by_text("Kill switch", exact=True).first.is_visible(), path
            seen = [each for each in page.locator(SORTED_BY_HAND).all() if each.is_visible()]
            assert seen == [], path
            top = page.locator("h1:visible, main :visible").first.bounding_box()
            assert top
            assert top["y"] < 90, path  # below the header there is no empty space


def test_many_open_orders_take_few_sheets_of_either_paper(
    window: BrowserContext, live_server: Any, olga: User
) -> None:
    request = residual(olga, orders=300)
    page = signed_in(window, olga, live_server)
    for path, limit in (
        (f"/requests/{request.uuid}/", 13),
        (f"/batches/{request.batch.uuid}/evidence/", 18),
    ):
        page.goto(path)
        for paper in ("A4", "Letter"):
            assert pages_of(page.pdf(format=paper, prefer_css_page_size=True)) <= limit, path


def test_the_outcomes_differ_on_paper_without_colour(
    window: BrowserContext, live_server: Any, olga: User
) -> None:
    """Each has a pattern or a lightness of its own: none differs from another by its hue alone."""
    failed_batch(olga, size=9, bad=4)
    page = signed_in(window, factories.person(Role.COMPLIANCE), live_server)
    page.goto("/audit/outcomes/")
    page.emulate_media(media="print")
    fills = page.locator(".legend .key rect").evaluate_all(
        "all => all.map((each) => getComputedStyle(each).fill)"
    )
    plain = [fill for fill in fills if not fill.startswith("url")]
    assert len(fills) == len(set(fills)) == 10
    assert len(plain) <= 3, "light, dark and white"
