"""Pages that follow what happens: a request, the list of requests, the checks, the alarms."""

import re

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
    page.locator("summary", has_text="Raw EMS response").first.click()
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
    expect(lines).to_have_count(3)
    expect(lines.first).to_contain_text("VENUE03")
    expect(lines.last).to_contain_text("VENUE01")


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
        expect(page.locator("#alarms .alarm")).to_have_count(left)
        page.wait_for_timeout(700)
    assert not Alarm.objects.unacknowledged().exists()
    expect(page).to_have_title("Console · Kill switch · REAL EMS")
