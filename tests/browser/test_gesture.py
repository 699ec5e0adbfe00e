"""The confirmation in a real browser: no cancel is sent by mistake, and none is held up."""

import re

import pytest
from playwright.sync_api import Page, expect

from killswitch.accounts.models import User
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import UncoveredExchange
from tests import factories
from tests.conftest import wait_for

HOLD = 1250  # ms: a little longer than the page asks for
DOUBLE = 800  # ms: two clicks at one place that are further apart are two decisions


def open_question(page: Page, exchange_id: str) -> None:
    page.locator(f'[data-exchange-id="{exchange_id}"] a.cut').click()
    expect(page.locator("#dialog [name=key]")).to_be_attached()


def open_everywhere(page: Page) -> None:
    page.goto("/")
    page.locator("#cut-all").click()
    expect(page.locator("#dialog [data-press-and-hold]")).to_be_visible()


def hold_point(page: Page) -> tuple[float, float]:
    box = page.locator("#dialog [data-press-and-hold]").bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_whole_kill_by_keyboard_alone(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN/JOHN", name="Kraken, John", orders=14)
    page.goto("/")
    page.locator('[data-exchange-id="KRAKEN/JOHN"] a.cut').focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog-title")).to_contain_text("14 open orders on KRAKEN/JOHN?")
    expect(page.locator("#dialog [data-back]")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#dialog .go")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#dialog-title")).to_contain_text(
        re.compile("^Cancel all on 1 exchange, requested at"), use_inner_text=True
    )
    assert Batch.objects.get().gesture == "dialog"
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(page.locator('[data-exchange-id="KRAKEN/JOHN"] a.cut')).to_be_focused()
    expect(page.locator('[data-exchange-id="KRAKEN/JOHN"] a.cut')).to_contain_text("Cancel all")


def test_enter_held_down_opens_the_question_and_goes_no_further(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    page.locator('[data-exchange-id="KRAKEN"] a.cut').focus()
    for _ in range(20):
        page.keyboard.down("Enter")
        page.wait_for_timeout(25)
    page.keyboard.up("Enter")
    expect(page.locator("#dialog [name=key]")).to_be_attached()
    expect(page.locator("#dialog")).to_be_visible()
    assert Batch.objects.count() == 0


def test_enter_in_the_reason_moves_to_the_button_without_clicking_it(
    page: Page, olga: User
) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    open_question(page, "KRAKEN")
    page.locator("#press-words").fill("strategy 7")
    page.keyboard.press("Enter")
    expect(page.locator("#dialog .go")).to_be_focused()
    assert Batch.objects.count() == 0
    page.keyboard.press("Enter")
    expect(page.locator("#dialog .batch")).to_be_visible()
    assert Batch.objects.get().reason == "strategy 7"


@pytest.mark.parametrize("way", ["Back", "Escape"])
def test_leaving_the_confirmation_sends_no_cancel_and_returns_the_focus(
    page: Page, olga: User, way: str
) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    open_question(page, "KRAKEN")
    if way == "Back":
        page.locator("#dialog [data-back]").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(page.locator('[data-exchange-id="KRAKEN"] a.cut')).to_be_focused()
    assert Batch.objects.count() == 0


def test_a_double_click_is_one_request(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    open_question(page, "KRAKEN")
    page.locator("#dialog .go").dblclick()
    expect(page.locator("#dialog .batch")).to_be_visible()
    page.wait_for_timeout(300)
    expect(page.locator("#dialog-title")).to_contain_text(
        re.compile("^Cancel all on 1 exchange, requested at"), use_inner_text=True
    )
    assert CancelRequest.objects.count() == 1


def test_a_second_cancel_while_one_is_in_flight_is_its_own_request(page: Page, olga: User) -> None:
    factories.exchange("KRAKEN", orders=14)
    page.goto("/")
    for count in (1, 2):
        open_question(page, "KRAKEN")
        page.locator("#dialog .go").click()
        expect(page.locator("#dialog .batch")).to_be_visible()
        assert Batch.objects.count() == count
        page.keyboard.press("Escape")


def test_everywhere_is_held_with_the_pointer(page: Page, olga: User) -> None:
    factories.exchanges(3)
    UncoveredExchange.objects.create(exchange_id="OKEX", open_orders=12)
    open_everywhere(page)
    expect(page.locator("#dialog")).to_contain_text("42 open orders on 3 exchanges")
    expect(page.locator("#dialog")).to_contain_text("OKEX (12 open)")
    page.mouse.move(*hold_point(page))
    page.mouse.down()
    page.wait_for_timeout(HOLD)
    page.mouse.up()
    expect(page.locator("#dialog .batch")).to_contain_text("0 of 3 confirmed")
    assert Batch.objects.get().gesture.startswith("held 10")
    assert Batch.objects.get().everywhere


@pytest.mark.parametrize("key", ["Space", "Enter"])
def test_everywhere_is_held_with_a_key(page: Page, olga: User, key: str) -> None:
    factories.exchanges(3)
    open_everywhere(page)
    page.locator("#dialog [data-press-and-hold]").focus()
    for _ in range(25):
        page.keyboard.down(key)
        page.wait_for_timeout(50)
    page.keyboard.up(key)
    expect(page.locator("#dialog .batch")).to_be_visible()
    assert Batch.objects.get().gesture.endswith(key.lower())


@pytest.mark.parametrize("way", ["tap", "slide off", "Escape", "short key", "blur"])
def test_an_incomplete_hold_sends_no_cancel(page: Page, olga: User, way: str) -> None:
    factories.exchanges(3)
    open_everywhere(page)
    button = page.locator("#dialog [data-press-and-hold]")
    if way == "short key":
        button.press("Space", delay=200)
    else:
        page.mouse.move(*hold_point(page))
        page.mouse.down()
        page.wait_for_timeout(300)
        if way == "slide off":
            page.mouse.move(5, 5, steps=4)
        elif way == "Escape":
            page.keyboard.press("Escape")
        elif way == "blur":
            button.evaluate("button => button.blur()")
        page.wait_for_timeout(0 if way == "tap" else HOLD)
        page.mouse.up()
    page.wait_for_timeout(HOLD)
    assert Batch.objects.count() == 0
    revealed = page.locator("#dialog [data-second]")
    if way in {"tap", "short key"}:
        expect(revealed).to_be_visible()
        expect(page.locator("#dialog [data-press-and-hold-says]")).to_contain_text(
            "No cancel has been sent yet"
        )


def test_a_synthetic_click_reveals_a_plain_button_that_works(page: Page, olga: User) -> None:
    factories.exchanges(3)
    open_everywhere(page)
    page.locator("#dialog [data-press-and-hold]").evaluate("button => button.click()")
    page.wait_for_timeout(200)
    assert Batch.objects.count() == 0
    page.get_by_role("button", name=re.compile("Yes, cancel on all")).click()
    expect(page.locator("#dialog .batch")).to_be_visible()
    assert Batch.objects.get().gesture == "second button"


def test_a_held_touch_works_and_opens_no_menu(page: Page, olga: User) -> None:
    factories.exchanges(3)
    open_everywhere(page)
    client = page.context.new_cdp_session(page)
    x, y = hold_point(page)
    touch = {"touchPoints": [{"x": x, "y": y}]}
    client.send("Input.dispatchTouchEvent", {"type": "touchStart"} | touch)
    page.wait_for_timeout(HOLD)
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#dialog .batch")).to_be_visible()
    assert "touch" in Batch.objects.get().gesture


def test_the_confirmation_page_has_the_same_gesture(page: Page, olga: User) -> None:
    factories.exchanges(2)
    page.goto("/cancel-all/")
    page.locator("[data-press-and-hold]").click()
    page.wait_for_timeout(DOUBLE)
    assert Batch.objects.count() == 0
    page.get_by_role("button", name=re.compile("Yes, cancel on all")).click()
    page.wait_for_url("**/batches/*/")
    assert Batch.objects.count() == 1


def test_the_batch_is_followed_live_and_retried_at_once(page: Page, olga: User) -> None:
    made = factories.exchanges(3)
    open_everywhere(page)
    page.locator("#dialog [data-press-and-hold]").evaluate("button => button.click()")
    page.locator("#dialog [data-second]").click()
    expect(page.locator("#dialog .summary")).to_contain_text("3 not sent yet")
    batch = Batch.objects.get()
    first, second, third = batch.requests.order_by("id")
    factories.bring(first, Status.CONFIRMED)
    factories.bring(second, Status.REJECTED)
    # The button that is there already takes in what ends badly after it.
    expect(page.get_by_role("button", name="Retry now on VENUE02")).to_be_visible()
    factories.bring(third, Status.RESIDUAL)
    summary = "1 of 3 confirmed, 1 with orders still open, 1 rejected: EXCHANGE_UNREACHABLE"
    expect(page.locator("#dialog .summary")).to_contain_text(f"2 of 3 not confirmed {summary}")
    expect(page.locator("#dialog .outcomes li").first).to_contain_text(made[2].exchange_id)
    expect(page.locator("[data-dialog-announce]")).to_contain_text(summary)
    page.get_by_role("button", name="Retry now on these 2 exchanges").click()
    expect(page.locator("#dialog .summary")).to_contain_text("0 of 2 confirmed")
    wait_for(lambda: Batch.objects.count() == 2, seconds=5)


def test_without_scripts_the_kill_works_as_pages(
    browser: object, live_server: object, olga: User
) -> None:
    from tests.browser.conftest import sign_in

    factories.exchange("KRAKEN", orders=14)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)  # type: ignore[attr-defined]
    sign_in(context, olga, live_server.url)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto("/")
    page.locator('[data-exchange-id="KRAKEN"] a.cut').click()
    page.select_option("select[name=reason]", "Drill")
    page.get_by_role("button", name="Cancel all orders on KRAKEN").click()
    assert "/batches/" in page.url
    assert Batch.objects.get().reason == "Drill"
    page.goto("/cancel-all/")
    page.get_by_role("button", name=re.compile("Cancel ALL orders")).click()
    assert Batch.objects.count() == 2
    context.close()
