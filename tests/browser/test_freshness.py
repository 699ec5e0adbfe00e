"""What the page shows when data is missing: lost connections, ended sessions, lost answers."""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from playwright.sync_api import Locator, Page, Route, expect

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from tests import factories
from tests.browser import scenes
from tests.browser.conftest import Complaints
from tests.browser.test_gesture import open_question

LOST = re.compile("No response from the console since")


def ready(page: Page) -> None:
    """The page has had its first answer."""
    page.goto("/")
    expect(page.locator("[data-session-ends]")).not_to_be_empty()


def answered(status: int) -> Any:
    return lambda route: route.fulfill(status=status, body="<h1>Bad gateway</h1>")


def test_changed_rows_come_by_themselves_and_nothing_else_moves(page: Page, olga: User) -> None:
    made = factories.exchanges(30)
    ready(page)
    page.locator("#filter").fill("venue")
    page.evaluate("scrollTo(0, 300)")
    page.evaluate(
        """() => {
          window.shifts = 0;
          new PerformanceObserver((list) => list.getEntries().forEach((e) => (shifts += e.value)))
            .observe({ type: "layout-shift", buffered: false });
          window.row = document.querySelector('[data-exchange-id="VENUE09"]');
          getSelection().selectAllChildren(row.querySelector("th b"));
          row.querySelector("a.cut").focus({ preventScroll: true });
        }"""
    )
    factories.change(made[8], open_orders=4321)
    expect(page.locator('[data-exchange-id="VENUE09"] .fig b')).to_have_text("4,321")
    state = page.evaluate(
        """() => ({
          same: row === document.querySelector('[data-exchange-id="VENUE09"]'),
          focus: document.activeElement === row.querySelector("a.cut"),
          selected: getSelection().toString(),
          filter: document.getElementById("filter").value,
          scroll: scrollY, shifts,
        })"""
    )
    assert state == {
        "same": True,
        "focus": True,
        "selected": "Venue 9",
        "filter": "venue",
        "scroll": 300,
        "shifts": 0,
    }


def test_rows_stay_where_they_are_while_they_change(page: Page, olga: User) -> None:
    made = factories.exchanges(4)
    ready(page)
    factories.bring(factories.press(olga, made[3]).requests.get(), Status.REJECTED)
    expect(page.locator('[data-exchange-id="VENUE04"]')).to_have_class(re.compile("attn"))
    shown = page.locator("#rows tr").evaluate_all("rows => rows.map(r => r.dataset.exchangeId)")
    assert shown == ["VENUE01", "VENUE02", "VENUE03", "VENUE04"]
    expect(page.locator("#tally")).to_have_text("4 · 1 needs attention")
    page.locator("#only-attention").check()
    expect(page.locator("#rows tr:visible")).to_have_count(1)


def test_not_being_ready_shows_on_the_page_and_in_the_confirmation(page: Page, olga: User) -> None:
    factories.exchanges(3)
    ready(page)
    expect(page.locator("#banner")).to_be_hidden()
    open_question(page, "VENUE01")
    banner = page.locator("[data-dialog-banner]")
    # It moves the button: not while that is kept pressed, or the pointer would leave it.
    button = page.locator("#dialog [data-go]")
    button.evaluate("button => button.classList.add('holding')")
    scenes.readiness[0] = scenes.NOT_READY
    expect(page.locator("#banner")).to_contain_text("Not ready. Workers", timeout=5000)
    expect(banner).to_be_hidden()
    button.evaluate("button => button.classList.remove('holding')")
    expect(banner).to_contain_text("Not ready. Workers", timeout=5000)
    expect(banner).to_contain_text("You can still try; if it is not confirmed, cancel manually.")
    expect(page.locator("#banner")).to_contain_text("If this console is down: cancel manually")
    scenes.readiness[0] = scenes.READY
    expect(banner).to_be_hidden(timeout=5000)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_queued_request_shows_its_age_and_a_running_one_its_time_left(
    page: Page, olga: User
) -> None:
    one, other = factories.exchanges(2)
    factories.press(olga, one)
    factories.bring(factories.press(olga, other).requests.get(), Status.SENDING)
    ready(page)
    first = page.locator('[data-exchange-id="VENUE01"] td small')
    expect(first).to_contain_text(
        re.compile(r"Olga Ray · requested \d\d s ago"), use_inner_text=True
    )
    second = page.locator('[data-exchange-id="VENUE02"] td small')
    expect(second).to_contain_text(
        re.compile(r"Olga Ray \d\d s left · attempt 2 · next in \d\.\d s"),
        use_inner_text=True,
    )


def test_a_figure_with_a_time_in_the_future_has_no_age(page: Page, olga: User) -> None:
    made = factories.exchanges(1)
    factories.change(made[0], seen_at=datetime.now(UTC) + timedelta(hours=1))
    ready(page)
    figure = page.locator('[data-exchange-id="VENUE01"] .fig')
    expect(figure.locator("time")).to_have_text("age unknown")
    expect(figure).to_have_class(re.compile("stale"))


def test_the_row_of_a_request_stays_still_when_its_time_is_up(page: Page, olga: User) -> None:
    running, late = factories.exchanges(2)
    for exchange in (running, late):
        factories.bring(factories.press(olga, exchange).requests.get(), Status.SENDING)
    late_request = CancelRequest.objects.get(exchange_id=late.exchange_id)
    factories.change(late_request, first_claimed_at=datetime.now(UTC) - timedelta(minutes=5))
    ready(page)
    texts = page.locator("td [data-left]")
    expect(texts).to_have_text([re.compile(r"\d\d s left"), "time is up"])
    widths = {text.evaluate("span => span.getBoundingClientRect().width") for text in texts.all()}
    assert len(widths) == 1


def test_an_exchange_comes_and_goes(page: Page, olga: User) -> None:
    one, *_ = factories.exchanges(2)
    ready(page)
    factories.exchange("NEW", orders=1)
    expect(page.locator('[data-exchange-id="NEW"]')).to_be_visible()
    factories.change(one, enabled=False)
    expect(page.locator('[data-exchange-id="VENUE01"]')).to_have_count(0)
    expect(page.locator("#everywhere")).to_contain_text("on 2 exchanges")


def test_typing_filters_the_rows(page: Page, olga: User) -> None:
    factories.exchanges(12)
    ready(page)
    page.locator("#filter").press_sequentially("ue 1")
    expect(page.locator("#rows tr:visible")).to_have_count(4)
    page.locator("#filter").fill("no such exchange")
    expect(page.locator("#none-match")).to_be_visible()


def test_figures_grow_old_in_sight(page: Page, olga: User) -> None:
    factories.exchanges(2)
    factories.observe(ago_s=45)
    page.goto("/")
    age = page.locator('[data-exchange-id="VENUE01"] time')
    expect(age).to_have_text(re.compile(r"4\d s ago"))
    expect(page.locator('[data-exchange-id="VENUE01"] .fig')).to_have_class(re.compile("stale"))
    factories.observe(ago_s=0.5)
    expect(age).to_have_text(re.compile(r"^\d s ago"))
    expect(page.locator('[data-exchange-id="VENUE01"] .fig')).not_to_have_class(re.compile("stale"))


@pytest.mark.parametrize("how", ["offline", "500", "silent", "stranger"])
def test_a_lost_connection_is_announced_within_five_seconds_and_ends_by_itself(
    page: Page, olga: User, complaints: Complaints, how: str
) -> None:
    factories.exchanges(2)
    ready(page)
    if how == "offline":
        page.context.set_offline(True)
    else:
        handlers = {
            "500": answered(500),
            "silent": lambda _: None,
            "stranger": answered(200),
        }
        page.route("**/poll/*", handlers[how])
    banner = page.locator("#banner")
    expect(banner).to_contain_text(LOST, timeout=5000)
    expect(banner).to_contain_text("If this console is down: cancel manually")
    expect(page.locator("html")).to_have_class(re.compile("lost"))
    expect(page.locator("#ready-word")).to_have_text("NOT KNOWN", use_inner_text=True)
    assert page.title().startswith("(!) ")
    assert "Bad gateway" not in page.content()
    page.context.set_offline(False)
    page.unroute("**/poll/*")
    expect(banner).to_be_hidden(timeout=8000)
    expect(page.locator("html")).not_to_have_class(re.compile("lost"))
    complaints.forgive()  # the browser notes each failed call


def test_polls_that_are_refused_say_why_and_figures_grow_old(
    page: Page, olga: User, complaints: Complaints, settings: Any
) -> None:
    factories.exchanges(2)
    ready(page)
    banner = page.locator("#banner")
    hosts = settings.ALLOWED_HOSTS
    settings.ALLOWED_HOSTS = ["ks.example"]
    expect(banner).to_contain_text("This page has not been updated since", timeout=8000)
    expect(banner).to_contain_text("The console does not respond to this address.")
    expect(banner).to_contain_text("Figures are at least that old.")
    expect(page.locator("html")).to_have_class(re.compile("lost"))
    settings.ALLOWED_HOSTS = hosts
    expect(banner).to_be_hidden(timeout=8000)
    page.route("**/poll/*", answered(403))
    expect(banner).to_contain_text("The console or a proxy refused this (error 403)", timeout=8000)
    assert "Bad gateway" not in page.content()
    complaints.forgive()


def test_a_cancel_that_a_proxy_has_changed_is_refused_with_what_is_needed(
    page: Page, olga: User, complaints: Complaints, settings: Any
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    exchange = factories.exchange("KRAKEN", orders=14)
    factories.bring(factories.press(olga, exchange).requests.get(), Status.RESIDUAL)
    ready(page)
    open_question(page, "KRAKEN")
    page.set_extra_http_headers({"X-Forwarded-Proto": "https"})
    page.locator("#dialog .go").click()
    dialog = page.locator("#dialog")
    expect(page.locator("#dialog-title")).to_have_text(
        "A proxy in front of the console is misconfigured"
    )
    expect(dialog).to_contain_text("No change was made and no cancel was sent.")
    expect(dialog).to_contain_text("X-Forwarded-Proto: https")
    expect(dialog).to_contain_text("curl -X POST")
    assert Batch.objects.count() == 1
    dialog.get_by_role("button", name="Back").click()
    page.wait_for_timeout(700)  # a click right after a change is ignored
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.locator("#banner")).to_contain_text(
        "A proxy in front of the console is misconfigured. No change was made"
    )
    complaints.forgive()


def test_a_session_that_ends_is_announced_and_never_swaps_in_the_sign_in_page(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")
    page.select_option("#press-pick", "Drill")
    page.locator("#press-words").fill("of May")
    Session.objects.all().delete()
    expect(page.locator("#banner")).to_contain_text("Your session has ended.", timeout=5000)
    expect(page.locator("[data-dialog-banner]")).to_contain_text("Your session has ended.")
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog [data-signed-out]")).to_be_visible()
    expect(page.locator("#dialog [data-signed-out]")).to_contain_text("No cancel was sent.")
    assert "/accounts/login/?next=" in (page.locator("[data-sign-in]").get_attribute("href") or "")
    expect(page.locator("[name=password]")).to_have_count(0)
    assert Batch.objects.count() == 0
    complaints.forgive()


@pytest.mark.parametrize(
    "how", ["never reached", "answer lost", "own error", "502", "403", "silent"]
)
def test_a_request_without_an_answer_is_unknown_and_the_same_key_settles_it(
    page: Page, olga: User, complaints: Complaints, how: str
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")

    def handle(route: Route) -> None:
        if how == "answer lost":
            route.fetch()
            route.abort()
        elif how == "never reached":
            route.abort()
        elif how == "own error":
            # Fits the dialog, but does not say that the request was not recorded.
            route.fulfill(status=500, body='<h2 id="dialog-title">Something went wrong</h2>')
        elif how in {"502", "403"}:  # pages of a proxy
            answered(int(how))(route)

    page.route("**/cancel-all/", handle)
    page.locator("#dialog .go").click()
    block = page.locator("#dialog [data-no-answer]")
    expect(block).to_be_visible(timeout=7000)
    expect(block).to_contain_text("It is not known whether this request was recorded.")
    expect(block.locator("button")).to_be_focused()
    page.unroute("**/cancel-all/")
    block.locator("button").click()
    title = "Already requested" if how == "answer lost" else "Cancel all on 1 exchange, requested"
    expect(page.locator("#dialog-title")).to_contain_text(title)
    assert Batch.objects.count() == 1
    complaints.forgive()


def test_a_confirmation_that_cannot_be_loaded_says_so(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    page.route("**/cancel-all/", answered(502))
    page.locator('[data-exchange-id="KRAKEN"] a.cut').click()
    expect(page.locator("#dialog-title")).to_have_text("The console did not respond")
    page.unroute("**/cancel-all/")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#dialog-title")).to_contain_text("14 open orders")
    complaints.forgive()


def test_the_manual_commands_are_in_the_confirmation_and_name_its_exchanges(
    page: Page, olga: User, complaints: Complaints
) -> None:
    names = ["O'NEIL/1", "KRAKEN"]
    for name in names:
        factories.exchange(name, orders=14)
    ready(page)
    open_question(page, "O'NEIL/1")
    page.route("**/cancel-all/", answered(502))
    way = page.locator("#dialog .way")
    expect(way).to_be_hidden()
    page.locator("#dialog .go").click()
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible()
    assert bodies(way) == [{"exchange_id": "O'NEIL/1"}]
    page.unroute("**/cancel-all/")
    page.keyboard.press("Escape")
    page.locator("#cut-all").click()
    page.wait_for_selector("#dialog [data-press-and-hold]")
    page.route("**/poll/*", answered(500))
    expect(page.locator("[data-dialog-banner]")).to_contain_text(LOST, timeout=5000)
    assert bodies(way) == [{"exchange_id": name} for name in sorted(names)]
    complaints.forgive()


def bodies(way: Locator) -> list[Any]:
    """What a shell would send of the lines that are shown."""
    expect(way).to_be_visible()
    way.locator("summary").click()
    lines = [shlex.split(line) for line in way.locator("pre").all_inner_texts()]
    assert all(line[:3] == ["curl", "-X", "POST"] and line[-2] == "-d" for line in lines)
    return [json.loads(line[-1]) for line in lines]


def test_a_closed_confirmation_opens_again_when_its_answer_is_lost(
    page: Page, olga: User, complaints: Complaints
) -> None:
    factories.exchange("KRAKEN", orders=14)
    ready(page)
    open_question(page, "KRAKEN")
    page.route("**/cancel-all/", lambda _: None)
    page.locator("#dialog .go").click()
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible(timeout=7000)
    page.unroute("**/cancel-all/")
    complaints.forgive()


def test_an_alarm_is_announced_outside_of_what_is_swapped(page: Page, olga: User) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    request = factories.press(olga, exchange).requests.get()
    ready(page)
    factories.bring(request, Status.RESIDUAL)
    expect(page.locator("#alert")).to_contain_text("KRAKEN: 3 orders are still open.")
    assert Alarm.objects.count() == 1


def test_a_session_that_is_about_to_end_says_when(page: Page, olga: User) -> None:
    factories.exchanges(2)
    session = Session.objects.get()
    store = SessionStore(session.session_key)
    store.set_expiry(datetime.now(UTC) + timedelta(seconds=100))
    store.save()
    page.goto("/")
    expect(page.locator("#banner")).to_contain_text(re.compile(r"Your session ends at [\d:]+ UTC"))
    expect(page.locator("html")).not_to_have_class(re.compile("lost"))
