"""The page of an exchange in a real browser: at three widths, live, and without JavaScript."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from killswitch.exchanges.models import OpenOrderList, OpenOrderSample
from tests import factories
from tests.browser import scenes
from tests.browser.conftest import sign_in
from tests.browser.test_looks import PICTURES, picture

WIDTHS = (390, 768, 1440)
# Text that is cut off by its own box, or reaches out of its card where that does not scroll.
CUT_OFF = """() => [...document.querySelectorAll("main :is(p, h2:not(.vh), li)")]
  .filter((each) => each.scrollWidth > each.clientWidth + 1
    || each.getBoundingClientRect().right > innerWidth)
  .map((each) => each.textContent.trim().slice(0, 60))"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen(page: Page, olga: User, width: int, scheme: Any) -> None:
    row = scenes.held(olga)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/exchanges/{row.pk}/")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.evaluate(CUT_OFF) == []
    expect(page.locator(".cut").first).to_be_in_viewport()
    chart = page.locator(".frame svg").bounding_box()
    assert chart is not None
    assert chart["width"] > width * 0.6, "the whole chart is visible without scrolling"
    if PICTURES:
        picture(page, f"exchange-page-{width}-{scheme}", full=True)


def test_it_is_updated_live_and_keeps_what_is_open(page: Page, olga: User) -> None:
    row = scenes.held(olga)
    page.goto(f"/exchanges/{row.pk}/")
    expect(page.locator("#exchange-now")).to_contain_text("240 open orders")
    expect(page.locator("#exchange-now")).to_contain_text("min ago")
    page.locator(".history summary").click()
    orders = OpenOrderList.objects.get()
    factories.change(row, open_orders=1)
    factories.change(orders, orders=orders.orders[:1], total=1)
    expect(page.locator("#exchange-now")).to_contain_text("1 open order")
    expect(page.locator("#exchange-orders tbody tr")).to_have_count(1)
    request = factories.press(olga, row).requests.get()
    factories.bring(request, Status.REJECTED)
    newest = page.locator("#exchange-requests tbody tr").first
    expect(newest.locator("[data-status]")).to_have_attribute("data-status", "REJECTED")
    factories.change(orders, orders=[], total=0)
    factories.change(row, open_orders=0)
    expect(page.locator("#exchange-orders")).to_have_count(0)
    expect(page.locator(".history details[open]")).to_have_count(1)


def test_the_chart_gets_a_new_minute(page: Page, olga: User) -> None:
    row = factories.exchange("KRAKEN", orders=3)
    page.goto(f"/exchanges/{row.pk}/")
    part = page.locator(f"#chart-{row.pk} [name=show]")
    _, pk, hours, end = part.get_attribute("value", timeout=5_000).split(":")  # type: ignore[union-attr]
    # As if the page had been opened a minute ago.
    part.evaluate("(part, value) => (part.value = value)", f"chart:{pk}:{hours}:{int(end) - 60}")
    minute = datetime.fromtimestamp(int(end), UTC) - timedelta(minutes=1)
    OpenOrderSample.objects.create(configured_exchange=row, minute=minute, lowest=3, highest=31)
    expect(page.locator(f"#chart-{row.pk}")).to_contain_text("From 3 to 31")
    expect(page.locator(f"#chart-{row.pk} rect.range")).to_have_count(1)


def test_the_cancel_is_confirmed_in_the_dialog(page: Page, olga: User) -> None:
    row = factories.exchange("KRAKEN", orders=3)
    page.goto(f"/exchanges/{row.pk}/")
    page.locator("article .cut").click()
    expect(page.locator("#dialog [data-go]")).to_contain_text("KRAKEN")


def test_it_is_reached_from_the_console_by_keyboard(page: Page, olga: User) -> None:
    row = factories.exchange("KRAKEN", orders=3)
    page.goto("/")
    page.locator("#rows th a").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{page.url.split('/exchanges')[0].rstrip('/')}/exchanges/{row.pk}/")
    expect(page.locator("h1")).to_contain_text("KRAKEN")


def test_it_can_be_read_without_javascript(browser: Browser, live_server: Any, olga: User) -> None:
    row = scenes.held(olga)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, olga, live_server.url)
    tab = context.new_page()
    tab.goto(f"/exchanges/{row.pk}/")
    expect(tab.locator("#exchange-now")).to_contain_text("240 open orders")
    expect(tab.locator("#exchange-orders tbody tr")).to_have_count(100)
    assert tab.locator(".frame rect").count() > 10
    context.close()
