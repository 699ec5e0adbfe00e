"""The page stays steady: rows and buttons do not move or overlap when a status changes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, Observation
from killswitch.readiness.judgement import judge
from tests import factories
from tests.browser import scenes
from tests.browser.conftest import Complaints, watch
from tests.holds import holding

WIDTHS = (360, 390, 768, 960, 1280)
LONG = "the algorithm of the third desk sends orders that were not requested " * 6
# Where each row and its button begin, in pixels.
PLACES = """() => [...document.querySelectorAll("#rows tr")].map(
  (row) => [row, row.querySelector("a.cut")].map((each) => each.getBoundingClientRect().y))"""
HEIGHTS = """() => [...document.querySelectorAll("#rows tr")].map((row) => row.offsetHeight)"""
# What is written of an outcome, and where its row's button begins.
OVERLAPS = """() => [...document.querySelectorAll("#rows tr")].flatMap((row) => {
  const range = document.createRange();
  range.selectNodeContents(row.querySelector("td .st"));
  const text = range.getBoundingClientRect();
  const cut = row.querySelector("a.cut").getBoundingClientRect();
  const apart = text.right <= cut.left || text.bottom <= cut.top || text.top >= cut.bottom;
  return apart ? [] : [row.dataset.exchangeId];
})"""


# Text that reaches out of the card that holds it.
CUT_OFF = """() => [...document.querySelectorAll(".card :is(p, small, td, li)")].filter((each) =>
  each.getBoundingClientRect().right > each.closest(".card").getBoundingClientRect().right + 1 ||
  each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== "inline"
).map((each) => each.textContent.slice(0, 60))"""


# Where everything in the bar at the top is, and what is wider than its place.
BAR = """() => {
  const box = (each) => Object.values(each.getBoundingClientRect().toJSON()).map(Math.round);
  const words = [...document.querySelectorAll("#ready-word > span, #alarm-count > .word")]
    .filter((each) => getComputedStyle(each).clipPath === "none");
  const parts = [...document.querySelectorAll(".top > *, .top [class^=i-]")]
    .filter((each) => each.checkVisibility());
  return {
    places: parts.map((each) => [each.tagName, box(each)]),
    wide: words.filter((each) => {
      const parts = [each, each.closest("summary, a")];
      const [inner, outer] = parts.map((part) => part.getBoundingClientRect());
      return inner.left < outer.left || inner.right > outer.right || inner.height > outer.height;
    }).map((each) => each.innerText),
  };
}"""
# The sum of all shifts that no person caused.
SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const { value, hadRecentInput, sources } of list.getEntries())
      if (!hadRecentInput)
        shifts.push([value, sources.map(({ node }) => (node?.outerHTML || "").slice(0, 60))]);
  }).observe({ type: "layout-shift" });
}"""
MAX_SHIFT = 0.02
LATE_MS = 20_000  # on a busy machine


@pytest.fixture
def pages(context: BrowserContext, page: Page, complaints: Complaints) -> Iterator[list[Page]]:
    """Some tabs, each as wide as another kind of screen."""
    others = [context.new_page() for _ in WIDTHS[1:]]
    for width, tab in zip(WIDTHS, [page, *others], strict=True):
        tab.set_viewport_size({"width": width, "height": 900})
    for each in others:
        watch(each, complaints)
    yield [page, *others]
    for each in others:
        each.goto("about:blank")
    # That many pages, each with its poll a second, make a busy machine late. Whether a poll is late
    # is tested elsewhere; here it only delays the next picture.
    late = ("htmx:timeout", "htmx:afterRequest")
    complaints[:] = [text for text in complaints if not text.startswith(late)]


def test_a_row_keeps_its_height_through_a_whole_kill(pages: list[Page], olga: User) -> None:
    exchange = factories.exchange(
        "BITFINEX/LIST-UNREADABLE", name="Bitfinex, the desk of John", orders=31
    )
    factories.exchanges(2)
    before = [places(page) for page in pages]
    request = factories.press(olga, exchange).requests.get()
    statuses = (Status.SENDING, Status.VERIFYING, Status.UNVERIFIED, Status.REJECTED)
    for status in (Status.REQUESTED, *statuses, Status.CONFIRMED):
        if request.is_final:
            request = factories.press(olga, exchange).requests.get()
        factories.bring(request, status)
        for page, places_before in zip(pages, before, strict=True):
            shown = page.locator(f"#x{exchange.pk} [data-status]")
            expect(shown).to_have_attribute("data-status", status, timeout=LATE_MS)
            assert page.evaluate(PLACES) == places_before, (page.viewport_size, status)
    exchange.refresh_from_db()
    factories.change(exchange, open_orders=5, seen_at=datetime.now(UTC))
    for page, places_before in zip(pages, before, strict=True):
        shown = page.locator(f"#x{exchange.pk} [data-status]")
        expect(shown).to_have_text("Confirmed · new orders since")
        assert page.evaluate(PLACES) == places_before, page.viewport_size
    factories.look_again(request, after_s=119, orders=2040)
    for page, places_before in zip(pages, before, strict=True):
        shown = page.locator(f"#x{exchange.pk} [data-status]")
        expect(shown).to_have_text("2,040 orders open again after 119 s")
        assert page.evaluate(PLACES) == places_before, page.viewport_size


@pytest.mark.parametrize("width", [390, 1000, 1280, 1500])
def test_orders_that_are_open_again_make_no_row_of_a_long_list_higher(
    page: Page, olga: User, width: int
) -> None:
    first, *_ = factories.exchanges(25)
    request = factories.bring(factories.press(olga, first).requests.get(), Status.CONFIRMED)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    before = page.evaluate(HEIGHTS)
    factories.look_again(request, after_s=119, orders=2040)
    expect(page.locator(f"#x{first.pk} .st")).to_contain_text("2,040 orders open again")
    assert page.evaluate(HEIGHTS) == before


def test_a_row_keeps_its_height_through_a_whole_hold(pages: list[Page], olga: User) -> None:
    exchange = factories.exchange(
        "BITFINEX/LIST-UNREADABLE", name="Bitfinex, the desk of John", orders=31
    )
    factories.exchanges(2)
    factories.bring(factories.press(olga, exchange).requests.get(), Status.REJECTED)
    # The header gets its note with the first Hold, which the other exchange has already.
    holding.start(olga, Exchange.objects.get(exchange_id="VENUE02"))
    before = [places(page) for page in pages]
    hold = holding.start(olga, exchange)
    now = datetime.now(UTC)
    states: list[dict[str, Any]] = [
        {},
        {"episode_count": 1234, "orders_seen": 56_789, "last_order_at": now},
        {"last_read_at": now - timedelta(minutes=2)},
        {"blind_since": now},
    ]
    for fields in states:
        factories.change(hold, **fields)
        for page, places_before in zip(pages, before, strict=True):
            line = page.locator(f"#x{exchange.pk} .holdline")
            words = {"blind_since": "blind since", "last_read_at": "not enforced?"}
            wanted = next((words[name] for name in words if name in fields), "Held")
            expect(line).to_contain_text(wanted)
            assert page.evaluate(PLACES) == places_before, (page.viewport_size, fields)
    holding.release(hold, requested_by=olga, confirmed_by=holding.ivan())
    for page, places_before in zip(pages, before, strict=True):
        expect(page.locator(f"#x{exchange.pk} .holdline")).to_have_count(0)
        assert page.evaluate(PLACES) == places_before, page.viewport_size


def test_a_list_that_cannot_be_read_moves_no_row(pages: list[Page], olga: User) -> None:
    factories.exchanges(3)
    before = [places(page) for page in pages]
    for error in ("the call was not finished within 10.0 s; " * 4, ""):
        factories.change(Observation.objects.get(), error=error)
        for page, places_before in zip(pages, before, strict=True):
            expect(page.locator(".trouble")).to_contain_text("cannot be read" if error else "")
            expect(page.locator(".trouble [class^=i-]")).to_have_count(1 if error else 0)
            assert page.evaluate(PLACES) == places_before, page.viewport_size


def places(page: Page) -> list[Any]:
    """Where the rows and their buttons are on the console with three exchanges, within a pixel."""
    page.goto("/")
    expect(page.locator("#rows tr")).to_have_count(3)
    return [pytest.approx(row, abs=1) for row in page.evaluate(PLACES)]


@pytest.mark.parametrize("width", [360, 390, 768, 901, 1280])
def test_no_outcome_runs_into_its_button(page: Page, olga: User, width: int) -> None:
    for one in factories.exchanges(2):
        factories.bring(factories.press(olga, one).requests.get(), Status.REJECTED)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    expect(page.locator("#rows td .st")).to_have_count(2)
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("width", [320, 390, 768, 901, 1280])
def test_readiness_and_alarms_are_whole_in_the_bar_at_the_top(
    page: Page, olga: User, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    page.goto("/")
    word, alarms = page.locator("#ready-word > span"), page.locator("#alarm-count")
    expect(word).to_have_text("READY")
    expect(alarms).to_have_text("No alarms")
    place, beside = word.bounding_box(), alarms.bounding_box()
    assert place
    assert beside
    assert place["x"] + place["width"] <= beside["x"]
    assert beside["x"] + beside["width"] <= width


def test_nothing_in_the_bar_at_the_top_moves_when_its_words_change(
    page: Page, olga: User, complaints: Complaints
) -> None:
    complaints.forgive()  # of the polls that are cut off below
    exchanges = factories.exchanges(10)
    page.goto("/")
    expect(page.locator("#ready-word > span")).to_have_text("READY")
    before = bars(page)
    degraded = replace(scenes.READY.checks[-1], ok=False)
    scenes.readiness[0] = judge((*scenes.READY.checks, degraded))
    for exchange in exchanges:
        factories.bring(factories.press(olga, exchange).requests.get(), Status.REJECTED)
    expect(page.locator("#ready-word > span")).to_have_text("DEGRADED", timeout=LATE_MS)
    expect(page.locator("#alarm-count")).to_contain_text("10", timeout=LATE_MS)
    assert bars(page) == before
    scenes.readiness[0] = scenes.NOT_READY
    expect(page.locator("#ready-word > span")).to_have_text("NOT READY", timeout=LATE_MS)
    assert bars(page) == before
    page.route("**/poll/*", lambda route: route.abort())
    expect(page.locator("#ready-word > span")).to_have_text("NOT KNOWN", timeout=LATE_MS)
    assert bars(page) == before


def bars(page: Page) -> dict[int, Any]:
    """Where the parts of the bar are at every width; their words must fit."""
    places = {}
    for width in (*WIDTHS, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        bar = page.evaluate(BAR)
        assert bar["wide"] == [], width
        places[width] = bar["places"]
    return places


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_console_does_not_shift_while_figures_change_and_failures_arrive(
    page: Page, olga: User, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    exchanges = factories.exchanges(6)
    page.goto("/")
    expect(page.locator("#rows tr")).to_have_count(6)
    page.evaluate(SHIFTS)
    requests = [factories.press(olga, exchange).requests.get() for exchange in exchanges]
    expect(page.locator("#running li")).to_have_count(6, timeout=LATE_MS)
    for number, request in enumerate(requests):
        factories.bring(request, (Status.REJECTED, Status.CONFIRMED)[number % 2])
    expect(page.locator("#failed li")).to_have_count(3, timeout=LATE_MS)
    factories.change(exchanges[0], open_orders=12_040, seen_at=datetime.now(UTC))
    factories.change(Observation.objects.get(), error="HTTP 503")
    expect(page.locator(".trouble.line")).to_contain_text("cannot be read", timeout=LATE_MS)
    shifts = page.evaluate("shifts")
    assert sum(value for value, _ in shifts) < MAX_SHIFT, shifts


def test_a_long_reason_takes_one_line_of_the_latest_requests(page: Page, olga: User) -> None:
    one, two = factories.exchanges(2)
    factories.press(olga, one, reason="Drill")
    factories.press(olga, two, reason=LONG)
    page.goto("/")
    heights = page.locator("#latest li").evaluate_all("all => all.map((each) => each.offsetHeight)")
    assert len(heights) == 2
    assert abs(heights[0] - heights[1]) <= 1


@pytest.mark.parametrize(("width", "height"), [(640, 450), (360, 400), (844, 390)])
def test_in_a_low_window_the_question_and_its_buttons_are_in_sight(
    page: Page, olga: User, width: int, height: int
) -> None:
    """What is left of a laptop's screen at 200 %, and a phone lying on its side."""
    scenes.console(olga)
    page.set_viewport_size({"width": width, "height": height})
    page.goto("/")
    page.locator("#cut-all").click()
    expect(page.locator("#dialog [data-back]")).to_be_focused()
    expect(page.locator("#dialog [data-press-and-hold]")).to_be_in_viewport(ratio=1)
    expect(page.locator("#dialog-title")).to_be_in_viewport(ratio=1)
    for name in ("pick", "words"):
        field = page.locator(f"#press-{name}")
        field.focus()
        box, acts = field.bounding_box(), page.locator("#dialog .acts").bounding_box()
        assert box
        assert acts
        assert box["y"] + box["height"] <= acts["y"], f"the buttons cover {name}"


@pytest.mark.parametrize("width", [390, 1280])
def test_a_reason_without_spaces_cuts_nothing_off(page: Page, olga: User, width: int) -> None:
    one, *_ = factories.exchanges(1)
    batch = factories.press(olga, one, reason="x" * 500)
    factories.bring(batch.requests.get(), Status.RESIDUAL)
    page.set_viewport_size({"width": width, "height": 900})
    for path in (f"/batches/{batch.uuid}/", "/requests/"):
        page.goto(path)
        assert page.evaluate(CUT_OFF) == [], path


@pytest.mark.parametrize("width", [360, 390, 768])
def test_what_starts_and_releases_a_hold_is_easy_to_hit(page: Page, olga: User, width: int) -> None:
    held, _ = factories.exchanges(2)
    holding.start(olga, held)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    for row in page.locator("#rows tr").all():
        link, cut = (row.locator(f"a.{name}").bounding_box() for name in ("holdlink", "cut"))
        assert link
        assert cut
        assert link["height"] >= 24
        assert cut["height"] >= 44
        assert link["x"] + link["width"] + 6 <= cut["x"]


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_header_cuts_off_no_warning_of_a_hold(
    page: Page, olga: User, settings: Any, width: int
) -> None:
    settings.HOLD_RELEASE_PERSONS = 1
    now = datetime.now(UTC)
    blind, unread = factories.exchanges(2)
    holding.start(olga, blind, blind_since=now, started_at=now - timedelta(days=2))
    holding.start(olga, unread, last_read_at=now - timedelta(minutes=2))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/")
    note = page.locator("#held a").bounding_box()
    assert note
    for name in ("blind", "unread"):
        expect(page.locator(f"#held-{name}")).to_contain_text("1")
        box = page.locator(f"#held-{name}").bounding_box()
        assert box
        assert box["x"] + box["width"] <= note["x"] + note["width"]
