"""The console in an emergency: what has failed is in sight, and so is the red button."""

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from tests import factories
from tests.browser.conftest import sign_in
from tests.browser.test_freshness import ready

BAD = (Status.REJECTED, Status.RESIDUAL, Status.UNKNOWN, Status.UNVERIFIED)
# Where each row begins, in pixels.
ROWS = """() => [...document.querySelectorAll("#rows tr")].map((row) =>
  Math.round(row.getBoundingClientRect().y))"""


def test_rows_that_turn_bad_are_added_while_only_bad_ones_are_shown(page: Page, olga: User) -> None:
    made = factories.exchanges(4)
    first = factories.press(olga, made[0]).requests.get()
    factories.bring(first, Status.REJECTED)
    later = factories.press(olga, made[2]).requests.get()
    ready(page)
    page.locator("#only-attention").check()
    visible = page.locator("#rows tr:visible")
    expect(visible).to_have_count(1)
    factories.bring(later, Status.UNKNOWN)
    expect(visible).to_have_count(2)
    expect(page.locator("#tally")).to_have_text("4 · 2 need attention")
    # One that gets better stays, and one that comes and is not bad is not shown.
    factories.bring(factories.press(olga, made[0]).requests.get(), Status.CONFIRMED)
    factories.exchange("NEW", orders=1)
    expect(page.locator("#tally")).to_have_text("5 · 1 needs attention")
    expect(visible).to_have_count(2)
    page.locator("#only-attention").uncheck()
    page.locator("#only-attention").check()
    expect(visible).to_have_count(1)


@pytest.mark.parametrize("width", [1280, 1920])
def test_every_failure_among_sixty_exchanges_is_in_sight(
    page: Page, olga: User, width: int
) -> None:
    made = factories.exchanges(60)
    page.set_viewport_size({"width": width, "height": 800})
    ready(page)
    places = page.evaluate(ROWS)
    for number, exchange in enumerate(reversed(made[-8:])):
        factories.bring(factories.press(olga, exchange).requests.get(), BAD[number % 4])
    chips = page.locator("#failed li a")
    expect(chips).to_have_count(8)
    assert page.evaluate(ROWS) == places, "rows do not move"
    for chip in chips.all():
        expect(chip).to_be_in_viewport(ratio=0.99)
    expect(page.locator("[data-retry-failed]")).to_be_in_viewport(ratio=1)
    page.locator("[data-retry-failed]").click()
    expect(page.locator("#dialog-title")).to_contain_text("on 8 exchanges")


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_names_of_thirty_failures_among_sixty_exchanges_are_in_sight(
    page: Page, olga: User, width: int
) -> None:
    made = factories.exchanges(60)
    page.set_viewport_size({"width": width, "height": 800})
    ready(page)
    places = page.evaluate(ROWS)
    expect(page.locator("#attention")).to_have_text("No failed cancels, none running.")
    expect(page.locator("#attention ul:visible")).to_have_count(0)
    calm = page.locator("#attention").bounding_box()
    assert calm
    assert calm["height"] < 80
    batch = factories.press(olga, *made[:30])
    for number, request in enumerate(batch.requests.all()):
        factories.bring(request, BAD[number % 4])
    chips = page.locator("#failed li a")
    expect(chips).to_have_count(30)
    assert page.evaluate(ROWS) == places, "rows do not move"
    for chip in chips.all():
        expect(chip).to_be_in_viewport(ratio=0.99)
    cut_off = "all => all.filter((each) => each.scrollWidth > each.clientWidth).length"
    assert page.locator("#failed b").evaluate_all(cut_off) == 0
    expect(page.locator("#attention .counts")).to_contain_text("Not confirmed: 30")
    box, retry = (
        page.locator(each).bounding_box() for each in ("#attention", "[data-retry-failed]")
    )
    assert box
    assert retry
    assert retry["x"] + retry["width"] < box["x"] + box["width"] - 8
    assert retry["height"] >= 44


@pytest.mark.parametrize("width", [390, 768, 1000, 1280])
def test_what_needs_attention_comes_and_goes_without_moving_a_row(
    page: Page, olga: User, width: int
) -> None:
    made = factories.exchanges(12)
    page.set_viewport_size({"width": width, "height": 900})
    ready(page)
    places = page.evaluate(ROWS)
    requests = [factories.press(olga, exchange).requests.get() for exchange in made]
    expect(page.locator("#running li")).to_have_count(12)
    assert page.evaluate(ROWS) == places
    for request in requests[:6]:
        factories.bring(request, Status.REJECTED)
    expect(page.locator("#failed li")).to_have_count(6)
    assert page.evaluate(ROWS) == places


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (768, 900), (1280, 800)])
def test_the_red_button_stays_in_sight(page: Page, olga: User, width: int, height: int) -> None:
    factories.exchanges(30)
    page.set_viewport_size({"width": width, "height": height})
    ready(page)
    bar = page.locator("#kill-bar")
    expect(bar).to_be_hidden()
    name = "Cancel ALL orders on 30 exchanges"
    expect(page.get_by_role("link", name=re.compile(name))).to_have_count(1)
    page.evaluate("scrollTo(0, 1500)")
    expect(bar).to_be_in_viewport(ratio=1)
    expect(bar.locator("time")).to_contain_text("ago")
    expect(page.locator("#ready-word")).to_be_in_viewport(ratio=1)
    expect(page.locator("#alarm-count")).to_be_in_viewport(ratio=1)
    box = bar.get_by_role("link", name=name).bounding_box()
    assert box
    assert box["height"] >= (44 if width < 900 else 40)
    bar.get_by_role("link").click()
    expect(page.locator("#dialog-title")).to_contain_text("on 30 exchanges?")
    page.keyboard.press("Escape")
    # Nothing that gets the focus is hidden behind the bar.
    page.locator("#rows tr").first.locator("a.cut").focus()
    low = bar.bounding_box() or {"y": 0, "height": 0}
    top = page.locator("header.top").bounding_box()
    focused = page.locator("#rows tr").first.locator("a.cut").bounding_box()
    assert top
    assert focused
    assert focused["y"] >= max(top["y"] + top["height"], low["y"] + low["height"] - 1)


def test_selected_rows_are_cancelled_in_one_question(page: Page, olga: User) -> None:
    factories.exchanges(6)
    ready(page)
    places = page.evaluate(ROWS)
    boxes = page.locator("#rows .pick input")
    link = page.locator("[data-cancel-selected]")
    expect(link).to_be_hidden()
    for number in (0, 2, 4):
        boxes.nth(number).check()
    expect(link).to_have_text("Cancel all on 3 selected")
    expect(page.locator("[data-selected]")).to_have_text("3 selected · 63 open orders")
    assert page.evaluate(ROWS) == places
    page.locator("#filter").fill("venue 1")
    expect(page.locator("[data-selected]")).to_contain_text("63 open orders")
    link.click()
    expect(page.locator("#dialog-title")).to_contain_text("on 3 exchanges")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clear").click()
    expect(link).to_be_hidden()


def test_selected_rows_are_cancelled_without_scripts(
    browser: Browser, olga: User, live_server: Any
) -> None:
    factories.exchanges(3)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, olga, live_server.url)
    page = context.new_page()
    page.goto("/")
    for number in (0, 2):
        page.locator("#rows .pick input").nth(number).check()
    page.get_by_role("button", name="Cancel all on the selected exchanges").click()
    expect(page.locator("h1")).to_contain_text("on 2 exchanges")
    page.goto("/?sort=orders")
    expect(page.locator("#rows tr").first).to_have_attribute("data-exchange-id", "VENUE03")
    context.close()


def test_ages_are_said_once_and_old_figures_say_their_own(page: Page, olga: User) -> None:
    made = factories.exchanges(3)
    ready(page)
    expect(page.locator(".asof time")).to_contain_text("ago")
    expect(page.locator("#rows .fig time").first).to_have_css("position", "absolute")
    old = factories.observe()
    factories.observe(ago_s=0.1)
    factories.change(made[1], seen_at=old)
    expect(page.locator(f"#x{made[1].pk} .fig time")).to_have_css("position", "static")


def test_two_columns_on_a_wide_screen_and_compact_rows(page: Page, olga: User) -> None:
    factories.exchanges(30)
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto("/")
    heights = page.locator("#rows tr").evaluate_all("rows => rows.map((row) => row.offsetHeight)")
    assert max(heights) <= 34
    page.set_viewport_size({"width": 1920, "height": 1080})
    boxes = [page.locator("#rows tr").nth(number).bounding_box() for number in (0, 1)]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] + 1
