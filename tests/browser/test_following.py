"""Pages that follow what happens: a request, the list of requests, the checks, the alarms."""

import re

import pytest
from playwright.sync_api import Page, expect

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.cancels.states import Status
from tests import factories
from tests.browser.test_freshness import ready


def test_a_page_of_a_request_grows_live(page: Page, olga: User) -> None:
    request = factories.press(olga, factories.exchange("KRAKEN", orders=14)).requests.get()
    page.goto(f"/requests/{request.uuid}/")
    expect(page.locator("article")).to_have_attribute("data-status", "REQUESTED")
    factories.bring(request, Status.SENDING)
    expect(page.locator("article")).to_contain_text(re.compile(r"Retrying\s+in \d\.\d s"))
    page.locator("details.run > summary").click()
    factories.bring(request, Status.VERIFYING, attempts=1)
    expect(page.locator("article")).to_contain_text("1 check of")
    expect(page.locator("article details[open]")).to_have_count(1)


def test_the_checks_behind_the_word_open_and_stay_fresh(page: Page, olga: User) -> None:
    ready(page)
    with page.expect_response(lambda answer: "show=ready" in answer.url) as answer:
        page.locator("[data-strip] summary").click()
    assert answer.value.status == 200
    expect(page.locator("#ready .checks li").first).to_be_visible()
    page.keyboard.press("Escape")
    with page.expect_response(lambda answer: "/poll/" in answer.url) as idle:
        pass
    assert "show=ready" not in idle.value.url


def test_a_new_request_comes_to_the_top_of_the_list(page: Page, olga: User) -> None:
    made = factories.exchanges(3)
    factories.press(olga, made[0])
    page.goto("/requests/")
    expect(page.locator("#requests tr")).to_have_count(1)
    factories.press(olga, *made[1:])
    lines = page.locator("#requests tr")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("2 exchanges")
    expect(lines.last).to_contain_text("VENUE01")


def test_a_cancel_stays_open_and_in_place_while_its_requests_end(page: Page, olga: User) -> None:
    first, second, third = factories.press(olga, *factories.exchanges(3)).requests.order_by("id")
    page.goto("/requests/?outcome=in_progress")
    row = page.locator("#requests tr")
    expect(row.locator("li")).to_have_count(3)
    factories.bring(second, Status.REJECTED)
    expect(row).to_contain_text("2 in progress")
    expect(row).to_contain_text("1 not confirmed:")
    factories.bring(first, Status.CONFIRMED)
    factories.bring(third, Status.CONFIRMED)
    expect(row).to_contain_text("2 confirmed")
    expect(row.locator("li")).to_have_count(3)
    expect(row.locator("li").nth(1)).to_contain_text("Rejected: EXCHANGE_UNREACHABLE")


@pytest.mark.parametrize("width", [360, 768, 1000, 1280, 2560])
def test_no_word_of_the_list_is_broken_letter_by_letter(page: Page, olga: User, width: int) -> None:
    reject = {"type": "MESSAGE_REJECT", "reject_reason": "METHOD_NOT_SUPPORTED", "message": "no"}
    request = factories.press(olga, factories.exchange("DERIBIT/UNREACHABLE")).requests.get()
    factories.bring(request, Status.REJECTED, rejection=reject)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto("/requests/")
    for selector in ("#requests .what a", "#requests .result a"):
        box = page.locator(selector).first.bounding_box()
        assert box
        assert box["height"] < 50, f"{selector} has more than two lines"
    overflow = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overflow) <= 0
    for link in page.locator("main.requests :is(a, summary, button)").all():
        box = link.bounding_box()
        # Links in closed details have no size.
        assert not box or not box["height"] or box["height"] >= 24, link.inner_text()


def test_one_alarm_after_another_is_acknowledged(page: Page, olga: User) -> None:
    made = factories.exchanges(3)
    for request in factories.press(olga, *made).requests.all():
        factories.bring(request, Status.UNKNOWN)
    page.goto("/")
    assert page.title().startswith("(3) ")
    expect(page.locator("link[rel=icon]")).to_have_attribute("href", "/static/img/tab-alarm.svg")
    for left in (2, 1, 0):
        page.locator("#alarms button").first.dblclick()
        # The second click must not reach the alarm that moves up.
        expect(page.locator("#alarms")).to_have_attribute("data-count", str(left))
        page.wait_for_timeout(700)
    assert not Alarm.objects.unacknowledged().exists()
    expect(page).to_have_title("Console · Kill switch · REAL EMS")
