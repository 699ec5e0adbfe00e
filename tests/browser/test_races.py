"""Clicks and answers that cross each other: no accidental cancel, and no answer is lost."""

import re
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, Route, expect

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from tests import factories
from tests.browser.conftest import Complaints, watch
from tests.browser.test_freshness import ready
from tests.browser.test_gesture import open_everywhere, open_question
from tests.conftest import wait_for

PHONE = {"width": 390, "height": 844}
# Every press that a page keeps in mind was an hour ago.
AN_HOUR_AGO = """() => {
  for (const [name, text] of Object.entries(localStorage))
    localStorage[name] = JSON.stringify({ ...JSON.parse(text), at: Date.now() - 3600000 });
}"""


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("pause", [60, 200, 400])
def test_the_second_half_of_a_double_click_on_a_row_sends_no_cancel(
    page: Page, olga: User, pause: int
) -> None:
    factories.exchanges(12)
    ready(page)
    open_question(page, "VENUE01")
    x, y = middle(page, "#dialog .go")
    page.keyboard.press("Escape")
    # The row's button is brought to where the red one of the question will appear.
    page.evaluate(
        """([x, y]) => {
          const link = document.querySelector('[data-exchange-id="VENUE05"] a.cut');
          link.style.position = "fixed";
          link.style.left = `${x - 40}px`;
          link.style.top = `${y - 15}px`;
        }""",
        [x, y],
    )
    # The page's own clock, so that a busy machine does not stretch the pause. A longer jump would
    # look like a sleep, of which a banner tells that moves the buttons.
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    page.mouse.click(x, y)
    expect(page.locator("#dialog .go")).to_be_visible()
    page.clock.run_for(pause)
    page.mouse.click(x, y)
    page.clock.run_for(400)
    assert Batch.objects.count() == 0
    expect(page.locator("#dialog-title")).to_contain_text("VENUE05")
    page.clock.run_for(400)
    page.mouse.click(x, y)
    expect(page.locator("#dialog .batch")).to_be_visible()
    assert Batch.objects.count() == 1


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 900}])
def test_a_double_tap_on_the_button_for_all_exchanges_sends_no_cancel(
    page: Page, olga: User, size: Any
) -> None:
    page.set_viewport_size(size)
    factories.exchanges(3)
    open_everywhere(page)
    x, y = middle(page, "#dialog [data-press-and-hold]")
    for _ in range(3):
        page.mouse.click(x, y)
        page.wait_for_timeout(150)
    page.wait_for_timeout(500)
    assert Batch.objects.count() == 0
    expect(page.locator("#dialog [data-second]")).to_be_visible()


def test_a_lost_press_is_told_after_the_question_that_was_opened_meanwhile(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    factories.exchange("GEMINI", orders=2)
    ready(page)
    routes: list[Route] = []
    open_question(page, "KRAKEN")
    page.route(
        "**/cancel-all/",
        lambda r: routes.append(r) if r.request.method == "POST" else r.continue_(),
    )
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog form")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    open_question(page, "GEMINI")
    routes[0].abort()
    page.wait_for_timeout(300)
    expect(page.locator("#dialog-title")).to_contain_text("GEMINI")
    page.unroute("**/cancel-all/")
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog .batch")).to_contain_text("GEMINI")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible()
    expect(page.locator("#dialog-title")).to_contain_text("KRAKEN")
    page.locator("#dialog [data-again]").click()
    expect(page.locator("#dialog .batch")).to_contain_text("KRAKEN")
    assert sorted(CancelRequest.objects.values_list("exchange_id", flat=True)) == [
        "GEMINI",
        "KRAKEN",
    ]
    complaints.forgive()


def test_a_late_answer_does_not_take_another_question_away(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN", orders=14)
    factories.exchange("GEMINI", orders=2)
    ready(page)
    routes: list[Route] = []
    open_question(page, "KRAKEN")
    page.route(
        "**/cancel-all/",
        lambda r: routes.append(r) if r.request.method == "POST" else r.continue_(),
    )
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog form")).to_have_attribute("aria-busy", "true")
    page.keyboard.press("Escape")
    open_question(page, "GEMINI")
    routes[0].continue_()
    expect(page.locator('[data-exchange-id="KRAKEN"] [data-status]')).to_be_visible()
    expect(page.locator("#dialog-title")).to_contain_text("GEMINI")
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()


def test_a_press_whose_page_was_closed_is_asked_about_on_the_next_one(
    page: Page, olga: User
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    lost = page.context.new_page()
    lost.goto("/")
    open_question(lost, "KRAKEN")
    lost.locator("#press-words").fill("typed before")
    lost.route("**/cancel-all/", lambda route: route.abort())
    lost.locator("#dialog .go").click()
    expect(lost.locator("#dialog [data-no-answer]")).to_be_visible()
    lost.close()

    page.evaluate(AN_HOUR_AGO)
    page.goto("/")
    block = page.locator("#dialog [data-no-answer]")
    expect(block).to_contain_text(
        re.compile(r"before a response to your request of [\d:]+ UTC arrived")
    )
    expect(page.locator("#dialog-title")).to_contain_text("on KRAKEN?")
    expect(page.locator("#press-words")).to_have_value("typed before")
    assert not Batch.objects.exists(), "opening the confirmation sends no cancel"
    block.locator("button").click()
    expect(page.locator("#dialog-title")).to_contain_text("Cancel all on 1 exchange, requested at")
    assert Batch.objects.get().reason == "typed before"
    page.goto("/")
    expect(page.locator("[data-session-ends]")).not_to_be_empty()
    expect(page.locator("#dialog")).to_be_hidden()


def test_a_press_whose_page_was_closed_after_it_was_recorded_leads_to_that_one(
    page: Page, olga: User
) -> None:
    factories.exchange("KRAKEN", orders=14)
    lost = page.context.new_page()
    lost.goto("/")
    open_question(lost, "KRAKEN")
    # The server takes the press; its answer is lost with the page.
    lost.route("**/cancel-all/", lambda route: route.fetch() and None)
    lost.locator("#dialog .go").click()
    wait_for(Batch.objects.exists, seconds=5)
    lost.close()

    page.goto("/accounts/logout/")
    page.evaluate(AN_HOUR_AGO)
    page.goto("/")
    page.locator("#dialog [data-no-answer] button").click()
    expect(page.locator("#dialog-title")).to_contain_text("Already requested at")
    assert Batch.objects.count() == 1


def test_an_alarm_that_takes_anothers_place_is_not_acknowledged_by_a_click_meant_for_that(
    page: Page, olga: User
) -> None:
    first, second = factories.exchanges(2)
    factories.bring(factories.press(olga, first).requests.get(), Status.REJECTED)
    ready(page)
    # The click lands the moment the newer alarm has come up.
    page.evaluate(
        """() => new MutationObserver((_, self) => {
          self.disconnect();
          setTimeout(() => document.querySelector("#alarms .ack").click(), 30);
        }).observe(document.getElementById("alarms"), { attributes: true })"""
    )
    box = page.locator("#everywhere").bounding_box()
    page.locator("#alarms .ack").focus()
    factories.bring(factories.press(olga, second).requests.get(), Status.REJECTED)
    expect(page.locator("#alarms .alarm-text")).to_contain_text("VENUE02")
    expect(page.locator("#banner")).to_contain_text("That click acknowledged nothing.")
    page.wait_for_timeout(300)
    assert Alarm.objects.unacknowledged().count() == 2
    assert page.locator("#everywhere").bounding_box() == box, "alarms do not move the page"
    # The focus stays near the alarms, on an element that no key triggers.
    assert page.evaluate("document.activeElement.id") == "alarms"


def test_the_reason_why_an_alarm_may_not_be_acknowledged_is_shown(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.bring(
        factories.press(olga, factories.exchange("KRAKEN")).requests.get(), Status.REJECTED
    )
    ready(page)
    factories.person(Role.RISK_OFFICER, username="ivan")
    # It comes to concern her own account while the page still offers the button.
    Alarm.objects.update(kind=AlarmKind.PEOPLE, subject=f"{olga.pk} 1")
    page.locator("#alarms .ack").click()
    expect(page.locator("#banner")).to_contain_text("Your last action may not have gone through.")
    expect(page.locator("#banner")).to_contain_text("it concerns your account")
    assert Alarm.objects.unacknowledged().count() == 1
    complaints.forgive()


def test_enter_in_a_field_sends_no_cancel_even_without_scripts(
    browser: Any, live_server: Any, olga: User
) -> None:
    from tests.browser.conftest import sign_in

    factories.exchanges(2)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, olga, live_server.url)
    page = context.new_page()
    page.goto("/cancel-all/")
    page.locator("#press-words").fill("just typing")
    page.locator("#press-words").press("Enter")
    page.wait_for_timeout(500)
    assert "/cancel-all/" in page.url
    assert Batch.objects.count() == 0
    context.close()


def test_the_back_button_after_a_cancel_shows_the_confirmation_and_sends_no_cancel(
    page: Page, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    page.goto("/requests/")
    page.goto(f"/exchanges/{exchange.pk}/cancel-all/")
    page.get_by_role("button", name="Cancel all orders on KRAKEN").click()
    page.wait_for_url("**/batches/*/")
    page.go_back()
    expect(page.get_by_role("button", name="Cancel all orders on KRAKEN")).to_be_visible()
    page.go_forward()
    page.wait_for_url("**/batches/*/")
    page.reload()
    assert Batch.objects.count() == 1


def test_a_page_that_wakes_up_says_how_old_it_is_until_it_has_asked(page: Page, olga: User) -> None:
    factories.exchanges(2)
    ready(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/poll/*", hold)
    page.evaluate("Date.now = ((now) => () => now() + 600000)(Date.now)")
    expect(page.locator("#banner")).to_contain_text("This page has been asleep since", timeout=3000)
    assert not page.title().startswith("(!)"), "a page that slept has not lost its connection"
    page.unroute("**/poll/*")
    expect(page.locator("#banner")).to_be_hidden(timeout=8000)


@pytest.mark.parametrize("how", ["tab", "history"])
def test_a_page_that_comes_back_into_sight_asks_at_once(page: Page, olga: User, how: str) -> None:
    factories.exchanges(2)
    ready(page)
    script = {
        "tab": "document.dispatchEvent(new Event('visibilitychange'))",
        "history": "window.dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))",
    }[how]
    page.evaluate("window.refreshes = 0")
    page.evaluate("document.body.addEventListener('refresh', () => refreshes++)")
    page.evaluate(script)
    assert page.evaluate("refreshes") == 1


def test_after_signing_out_the_back_button_shows_no_live_figures(
    page: Page, olga: User, complaints: Complaints
) -> None:
    """The back button after signing out leads to the sign-in page or to a page without figures."""
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    page.locator(".who summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/**")
    page.go_back()
    page.wait_for_timeout(1500)
    banner = page.locator("#banner:visible").count() and page.inner_text("#banner")
    assert "/accounts/login/" in page.url or "Your session has ended." in str(banner)
    complaints.forgive()


def test_a_session_that_ends_in_mid_press_leads_back_to_the_filled_question(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN/JOHN", orders=14)
    ready(page)
    open_question(page, "KRAKEN/JOHN")
    page.select_option("#press-pick", "Drill")
    page.locator("#press-words").fill("of May")
    Session.objects.all().delete()
    page.locator("#dialog .go").click()
    page.locator("#dialog [data-sign-in]").click()
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#press-words")).to_have_value("of May")
    expect(page.locator("#press-pick")).to_have_value("Drill")
    assert Batch.objects.count() == 0
    page.get_by_role("button", name="Cancel all orders on KRAKEN/JOHN").click()
    page.wait_for_url("**/batches/*/")
    assert Batch.objects.get().reason == "Drill: of May"
    complaints.forgive()


def test_a_role_that_changes_ends_what_an_open_page_may_do(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")
    User.objects.filter(pk=olga.pk).update(role=Role.COMPLIANCE)
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog [data-signed-out]")).to_be_visible()
    expect(page.locator("#banner")).to_contain_text("Your session has ended.", timeout=5000)
    assert Batch.objects.count() == 0
    complaints.forgive()


def test_text_that_is_selected_in_the_dialog_survives_polling(page: Page, olga: User) -> None:
    factories.exchanges(2)
    open_everywhere(page)
    page.locator("#dialog [data-press-and-hold]").evaluate("button => button.click()")
    page.locator("#dialog [data-second]").click()
    expect(page.locator("#dialog .outcomes li")).to_have_count(2)
    requests = list(Batch.objects.get().requests.order_by("id"))
    page.locator("#dialog .outcomes b", has_text="VENUE02").evaluate(
        "name => getSelection().selectAllChildren(name)"
    )
    page.locator("#dialog [data-back]").focus()
    factories.bring(requests[0], Status.CONFIRMED)
    expect(page.locator("#dialog .summary")).to_contain_text("1 of 2 confirmed")
    assert page.evaluate("getSelection().toString()") == "VENUE02"
    assert page.evaluate("document.activeElement.textContent") == "Close"


def test_a_poll_that_was_sent_before_a_dialog_appeared_takes_no_change_away_from_it(
    page: Page, olga: User
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")
    page.evaluate("htmx.config.timeout = 60000")  # the poll that is held must not time out
    held: list[Route] = []
    page.route("**/poll/*", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/poll/*"):
        pass
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog .batch")).to_be_visible()
    factories.bring(Batch.objects.get().requests.get(), Status.CONFIRMED)
    held[0].continue_()
    expect(page.locator("#dialog .batch")).to_contain_text("Confirmed")


def test_a_countdown_to_the_next_attempt_runs(page: Page, olga: User) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    ready(page)
    factories.bring(factories.press(olga, exchange).requests.get(), Status.SENDING)
    due = page.locator('[data-exchange-id="KRAKEN"] [data-due]')
    expect(due).to_have_text(re.compile(r"in \d\.\d s"))
    before = due.inner_text()
    expect(due).not_to_have_text(before, timeout=2000)


def test_a_new_tab_of_the_same_person_follows_too(
    page: Page, olga: User, complaints: Complaints
) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    ready(page)
    other = page.context.new_page()
    watch(other, complaints)
    ready(other)
    factories.change(exchange, open_orders=99)
    for tab in (page, other):
        expect(tab.locator('[data-exchange-id="KRAKEN"] .fig b')).to_have_text("99")
    other.close()
