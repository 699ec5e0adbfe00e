"""Holds in a real browser: started, seen, and released by two people."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.models import Batch
from killswitch.cancels.states import Status
from killswitch.holds.models import Hold, HoldState
from tests import factories
from tests.browser.conftest import Complaints, sign_in, watch
from tests.browser.test_gesture import open_everywhere, open_question
from tests.conftest import wait_for
from tests.holds import holding

HOLD_CHOICE = "#dialog [name=hold][value=hold]"


@pytest.fixture
def ivan(olga: User) -> User:
    """A second risk officer."""
    return holding.ivan()


@pytest.fixture
def other(browser: Browser, live_server: Any, ivan: User, complaints: Complaints) -> Iterator[Page]:
    """His window."""
    context = browser.new_context(base_url=live_server.url)
    sign_in(context, ivan, live_server.url)
    tab = context.new_page()
    watch(tab, complaints)
    yield tab
    tab.goto("about:blank")
    context.close()


def row(page: Page, exchange_id: str) -> Any:
    return page.locator(f'#rows [data-exchange-id="{exchange_id}"]')


def test_cancel_and_hold_by_mouse(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    open_question(page, "KRAKEN")
    go = page.locator("#dialog .go")
    expect(page.get_by_role("radio", name="Cancel once")).to_be_checked()
    expect(go).to_have_accessible_name("Cancel all orders on KRAKEN")
    page.get_by_text("Cancel and hold").click()
    expect(page.locator(HOLD_CHOICE)).to_be_checked()
    expect(go).to_have_accessible_name("Cancel all orders on KRAKEN, and hold")
    go.click()
    expect(page.locator("#holds-of-batch")).to_contain_text(
        re.compile(r"1 exchange\s+is held now:\s+KRAKEN")
    )
    assert Batch.objects.get().hold
    hold = Hold.objects.get()
    page.keyboard.press("Escape")
    expect(row(page, "KRAKEN")).to_have_attribute("data-hold", "ACTIVE")
    expect(row(page, "KRAKEN")).to_contain_text("no orders seen")
    since = f"1 exchange held · since {hold.started_at:%H:%M}"
    expect(page.locator("#held")).to_have_text(since, use_inner_text=True)


def test_cancel_and_hold_everywhere(page: Page, olga: User) -> None:
    factories.exchanges(3)
    open_everywhere(page)
    page.locator(HOLD_CHOICE).check()
    button = page.locator("#dialog [data-press-and-hold]")
    expect(button).to_contain_text("Cancel ALL orders on 3 exchanges, and hold")
    button.evaluate("button => button.click()")
    expect(page.locator("#dialog .says")).to_contain_text(
        "“Yes, cancel on all 3 exchanges, and hold”"
    )
    page.locator("#dialog [data-second]").click()
    expect(page.locator("#holds-of-batch")).to_contain_text("VENUE03")
    assert Hold.objects.count() == 3


def test_the_choice_outlives_a_page_that_was_closed_without_an_answer(
    page: Page, context: BrowserContext, olga: User, complaints: Complaints
) -> None:
    complaints.forgive()
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    open_question(page, "KRAKEN")
    page.locator(HOLD_CHOICE).check()
    page.route("**/cancel-all/", lambda route: route.abort())
    page.locator("#dialog [data-go]").click()
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible()
    page.goto("about:blank")
    page.unroute("**/cancel-all/")
    page.goto("/")
    expect(page.locator("#dialog [data-no-answer]")).to_be_visible(timeout=12_000)
    expect(page.locator(HOLD_CHOICE)).to_be_checked()
    page.locator("#dialog [data-again]").click()
    expect(page.locator("#holds-of-batch")).to_be_visible()
    assert Batch.objects.get().hold


def test_a_hold_from_the_row_and_its_release_by_two_people_by_keyboard_alone(
    page: Page, other: Page, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    page.get_by_role("link", name="Hold KRAKEN").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog-title")).to_have_text("Hold KRAKEN?")
    expect(page.locator("#dialog [data-back]")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#dialog-title")).to_have_text(re.compile(r"KRAKEN\s+is held"))
    hold = Hold.objects.get()
    assert not Batch.objects.exists()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Release… KRAKEN").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/release/")
    page.get_by_label("Reason").focus()
    page.keyboard.type("strategy 7 was stopped")
    page.keyboard.press("Enter")
    expect(page.locator("#release-title")).to_have_text(
        "Another risk officer must confirm this release"
    )
    expect(page.locator("[data-now]")).to_be_hidden()
    expect(page.get_by_role("button", name="Release KRAKEN")).to_have_count(0)
    other.goto("/")
    expect(row(other, "KRAKEN")).to_contain_text("requested by Olga Ray")
    other.goto(f"/exchanges/{exchange.pk}/release/")
    expect(other.locator("#release-title")).to_contain_text("Olga Ray has requested this release")
    other.get_by_role("button", name="Reject the request").focus()
    other.keyboard.press("Tab")
    expect(other.get_by_role("button", name="Release KRAKEN")).to_be_focused()
    other.keyboard.press("Enter")
    expect(other.locator("h1")).to_have_text(re.compile(r"KRAKEN\s+is not held"))
    # Her page follows, without being loaded again, except for its heading and forms.
    note = page.get_by_text("The Hold has changed since this page was loaded.")
    expect(note).to_be_visible()
    expect(page.locator(f"#hold-{hold.pk}")).to_contain_text("Not held: released")
    expect(page.locator("#held")).to_have_text("")
    page.get_by_role("link", name="Reload this page").click()
    expect(page.locator("h1")).to_have_text(re.compile(r"KRAKEN\s+is not held"))
    expect(note).to_be_hidden()
    hold.refresh_from_db()
    assert (hold.state, hold.released_by) == (HoldState.RELEASED, "Ivan Petrov (ivan)")


def test_a_stale_page_and_the_same_person_are_refused(
    page: Page, other: Page, olga: User, complaints: Complaints
) -> None:
    complaints.forgive()  # the browser notes 403 and 409
    exchange = factories.exchange("KRAKEN", orders=14)
    hold = holding.request_release(holding.start(olga, exchange), olga)
    other.goto(f"/exchanges/{exchange.pk}/release/")
    page.goto(f"/exchanges/{exchange.pk}/release/")
    page.locator("[name=act]").evaluate("act => (act.value = 'confirm')")
    page.get_by_role("button", name="Withdraw the request").click()
    expect(page.get_by_role("alert").first).to_contain_text("Another risk officer must confirm it")
    page.get_by_role("button", name="Withdraw the request").click()
    expect(page.get_by_label("Reason")).to_be_visible()
    other.get_by_role("button", name="Release KRAKEN").click()
    expect(other.locator("main .notice[role=alert]")).to_contain_text(
        "withdrawn, lapsed or replaced"
    )
    hold.refresh_from_db()
    assert hold.state == HoldState.ACTIVE


def test_a_lapse_is_shown(page: Page, olga: User, ivan: User, complaints: Complaints) -> None:
    complaints.forgive()
    exchange = factories.exchange("KRAKEN", orders=14)
    hold = holding.request_release(holding.start(olga, exchange), ivan)
    page.goto(f"/exchanges/{exchange.pk}/release/")
    holding.let_lapse(hold)
    assert hold.release_requested_at
    page.locator("[name=act][value=confirm] ~ [name=requested_at]").evaluate(
        "(field, at) => (field.value = at)", hold.release_requested_at.isoformat()
    )
    page.get_by_role("button", name="Release KRAKEN").click()
    expect(page.locator("main .notice[role=alert]")).to_contain_text(
        "was not confirmed within 15 minutes, so it has lapsed. KRAKEN is still held."
    )
    expect(page.get_by_label("Reason")).to_be_visible()


def test_without_scripts_it_works_as_pages(
    browser: Browser, live_server: Any, olga: User, ivan: User
) -> None:
    factories.exchange("KRAKEN", orders=14)
    pages = []
    for user in (olga, ivan):
        context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
        sign_in(context, user, live_server.url)
        pages.append(context.new_page())
    first, second = pages
    first.goto("/")
    first.get_by_role("link", name="Hold KRAKEN").click()
    first.get_by_role("button", name="Hold KRAKEN").click()
    expect(first.locator("main h1")).to_have_text(re.compile(r"KRAKEN\s+is held"))
    Hold.objects.update(last_read_at=timezone.now() - timedelta(seconds=25))
    first.get_by_role("link", name="Release…").click()
    # Some seconds pass until a busy machine has the page.
    age = re.compile(r"^\s*not enforced\? last read (2[5-9]|3\d) s ago\s*$")
    expect(first.locator("[data-hold-read]")).to_have_text(age)
    first.get_by_label("Reason").fill("strategy 7 was stopped")
    first.get_by_role("button", name="Request release").click()
    second.goto("/")
    expect(second.locator("#held")).to_contain_text("1 exchange held")
    second.get_by_role("link", name="Release… KRAKEN").click()
    second.get_by_role("button", name="Release KRAKEN").click()
    expect(second.locator("main h1")).to_have_text(re.compile(r"KRAKEN\s+is not held"))
    assert Hold.objects.get().state == HoldState.RELEASED
    first.goto("/cancel-all/")
    first.get_by_label("Cancel and hold").check()
    first.get_by_role("button", name=re.compile("Cancel ALL orders")).click()
    assert Batch.objects.get().hold
    for tab in pages:
        tab.context.close()


def test_a_list_that_is_old_says_less_and_ticks_without_a_new_revision(
    page: Page, olga: User, complaints: Complaints
) -> None:
    complaints.forgive()  # the browser notes the polls without an answer
    exchange = factories.exchange("KRAKEN", orders=3)
    hold = holding.with_orders(holding.start(olga, exchange))
    page.goto("/")
    line = row(page, "KRAKEN").locator(".holdline")

    def read(seconds_ago: float) -> None:
        at = timezone.now() - timedelta(seconds=seconds_ago)
        Hold.objects.update(last_read_at=at)

    read(0)
    facts = re.compile(r"Held 00:00:\d\d · 3 episodes · 17 orders · last seen \d\d s ago")
    expect(line).to_have_text(facts, use_inner_text=True)
    read(25)
    doubt = re.compile(r"^Held 00:00:\d\d · not enforced\? last read \d\d s ago$")
    expect(line).to_have_text(doubt, use_inner_text=True)
    expect(page.locator("#held")).to_contain_text("· 1 not enforced?")
    read(-60)
    unknown = re.compile(r"^Held 00:00:\d\d · not enforced\? read at an unknown time$")
    expect(line).to_have_text(unknown, use_inner_text=True)
    read(0)
    expect(line).to_have_text(facts, use_inner_text=True)
    expect(page.locator("#held")).not_to_contain_text("enforced")
    # Without answers the page knows only what it knew, which gets old.
    page.route("**/poll/*", lambda _: None)
    expect(line).to_have_text(doubt, use_inner_text=True, timeout=12_000)
    factories.change(hold)
    page.unroute_all()


def test_a_list_that_was_old_before_the_hold_went_blind_leaves_that_visible(
    page: Page, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN", orders=3)
    hold = holding.with_orders(holding.start(olga, exchange))
    page.goto("/")
    line = row(page, "KRAKEN").locator(".holdline")
    old = timezone.now() - timedelta(seconds=25)
    factories.change(hold, last_read_at=old)
    expect(line).to_contain_text("not enforced?", use_inner_text=True)
    factories.change(hold, blind_since=timezone.now())
    blind = r"^Held 00:00:\d\d · blind since \d\d:\d\d:\d\d · last read \d\d s ago$"
    expect(line).to_have_text(re.compile(blind), use_inner_text=True)
    factories.change(hold, blind_since=None)
    expect(line).to_contain_text("not enforced? last read", use_inner_text=True)
    factories.change(hold, last_read_at=timezone.now())
    expect(line).to_contain_text("3 episodes · 17 orders", use_inner_text=True)
    expect(line).not_to_contain_text("enforced", use_inner_text=True)


def test_the_hold_question_is_answered_although_the_first_answer_was_lost(
    page: Page, olga: User, complaints: Complaints
) -> None:
    complaints.forgive()
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    page.get_by_role("link", name="Hold KRAKEN").click()
    expect(page.locator("#dialog-title")).to_have_text("Hold KRAKEN?")
    page.route("**/hold/", lambda route: route.abort())
    page.locator("#dialog [data-go]").click()
    block = page.locator("#dialog [data-no-answer]")
    expect(block).to_contain_text("It is not known whether this request was recorded.")
    page.unroute("**/hold/")
    page.wait_for_timeout(800)  # a double click would be ignored
    block.get_by_role("button").click()
    expect(page.locator("#dialog-title")).to_have_text(re.compile(r"KRAKEN\s+is held"))
    assert Hold.objects.count() == 1


def test_a_held_row_is_marked_through_a_kill(page: Page, olga: User) -> None:
    exchange = factories.exchange("KRAKEN", orders=14)
    holding.start(olga, exchange)
    page.goto("/")
    request = factories.press(olga, exchange).requests.get()
    for status in (Status.SENDING, Status.CONFIRMED):
        factories.bring(request, status)
        shown = row(page, "KRAKEN").locator("[data-status]")
        expect(shown).to_have_attribute("data-status", status)
        expect(row(page, "KRAKEN")).to_have_attribute("data-hold", "ACTIVE")
        expect(row(page, "KRAKEN").locator("[data-elapsed]")).to_have_text(
            re.compile(r"\d\d:\d\d:\d\d")
        )
    wait_for(lambda: Hold.objects.active().count() == 1, seconds=2)
