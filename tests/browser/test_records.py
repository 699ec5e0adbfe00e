"""The pages of a request and of a batch, the result dialog and the evidence pack."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from killswitch.accounts.models import Role, User
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.ems import answers
from tests import factories
from tests.browser import states
from tests.browser.conftest import Complaints, sign_in
from tests.browser.test_looks import PICTURES, picture

LONG_SYMBOL = "KRAKEN_PERP_SOL_USD_LONG_NAME"
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
# What a reader would have to scroll inside the page to see.
CLIPPED = """(root) => [...root.querySelectorAll("*")].filter((each) =>
  each.scrollWidth > each.clientWidth + 1 && ["auto", "scroll", "hidden"].includes(
    getComputedStyle(each).overflowX) && !each.closest(".vh, .alarms, details:not([open])"))
  .map((each) => each.className)"""
SCROLLERS = """(root) => [...root.querySelectorAll("*")].filter((each) =>
  ["auto", "scroll"].includes(getComputedStyle(each).overflowY)
  && each.scrollHeight > each.clientHeight + 1).map((each) => each.className)"""


# Parts of symbols, between their separators, that take more than one line.
BROKEN_WORDS = """() => [...document.querySelectorAll("#orders td:first-child b")].flatMap(
  (symbol) => [...symbol.childNodes].filter((part) => {
    const range = document.createRange();
    range.selectNode(part);
    return part.data && new Set([...range.getClientRects()].map((line) => line.top)).size > 1;
  }).map((part) => part.data))"""


def residual(olga: User, *, orders: int = 12, attempts: int = 20, **context: Any) -> CancelRequest:
    """Return a request that ended with open orders after many attempts, one of them different."""
    exchange = factories.exchange("KRAKEN/JOHN", name="Kraken, John", orders=orders)
    request = factories.press(olga, exchange, **context).requests.get()
    factories.bring(request, Status.SENDING, attempts=0)
    factories.attempt(request, answers.not_delivered("Connection refused (error 111)"))
    request.refresh_from_db()
    factories.bring(request, Status.RESIDUAL, attempts=attempts, orders=orders)
    request.residual_orders.filter(client_order_id__endswith="1").update(symbol=LONG_SYMBOL)
    return request


def failed_batch(olga: User, *, size: int = 60, bad: int = 8) -> Batch:
    """Return a cancel on many exchanges of which some were not confirmed."""
    batch = factories.press(olga, *factories.exchanges(size), everywhere=True)
    failures = (Status.REJECTED, Status.RESIDUAL, Status.UNKNOWN, Status.NOT_DELIVERED)
    for number, request in enumerate(batch.requests.order_by("id")):
        status = failures[number % 4] if number < bad else Status.CONFIRMED
        factories.bring(request, status, attempts=1)
    return batch


def tops(page: Page, *selectors: str) -> list[float]:
    boxes = [page.locator(selector).first.bounding_box() for selector in selectors]
    return [box["y"] for box in boxes if box]


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf))


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_what_matters_comes_first_and_the_open_orders_are_whole(
    page: Page, olga: User, width: int
) -> None:
    request = residual(olga)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if width == 768 else "light")
    page.goto(f"/requests/{request.uuid}/")
    order = tops(page, ".verdict", ".openorders", ".reasoncard", ".facts", ".timeline")
    assert len(order) == 5
    assert order == sorted(order)
    assert page.locator("#orders").evaluate(CLIPPED) == []
    assert page.evaluate(OVERFLOW) <= 0
    for cell in page.locator("#orders tbody tr").first.locator("[data-field]").all():
        box = cell.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    if PICTURES:
        picture(page, f"R-request-{width}", full=True)


def test_attempts_that_ended_alike_are_one_line_and_each_can_be_reached(
    page: Page, olga: User
) -> None:
    page.goto(f"/requests/{residual(olga).uuid}/")
    run = page.locator(".run")
    expect(run).to_have_count(1)
    expect(run.locator("summary").first).to_contain_text("20 attempts, all accepted by the EMS")
    expect(page.locator(".timeline > li", has_text="not delivered")).to_be_visible()
    expect(run.get_by_text("Attempt 21", exact=True)).to_be_hidden()
    run.locator("summary").first.click()
    expect(run.get_by_text("Attempt 21", exact=True)).to_be_visible()
    assert run.locator("ol > li").count() == 20


def test_ids_and_the_table_are_copied(page: Page, olga: User) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/requests/{residual(olga, orders=3).uuid}/")
    button = page.locator(".orderid button").first
    button.click()
    expect(button).to_contain_text("Copied")
    expect(page.locator("#announce")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "3456456754"
    page.get_by_role("button", name="Copy all").click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    lines = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(lines) == 4
    assert lines[0].split("\t")[-2:] == ["Exchange order ID", "Client order ID"]
    assert lines[1].split("\t")[0] == "BTC-USD"
    assert {len(line.split("\t")) for line in lines} == {9}


def test_a_browser_that_refuses_the_clipboard_selects_the_text(page: Page, olga: User) -> None:
    page.goto(f"/requests/{residual(olga, orders=1).uuid}/")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.evaluate("document.execCommand = () => false")
    button = page.locator(".orderid button").first
    button.click()
    expect(button).to_contain_text("Selected")
    assert page.evaluate("getSelection().toString().trim()") == "3456456754"
    expect(page.locator("#announce")).to_contain_text("Press Control and C")


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_the_result_dialog_shows_failures_first_and_scrolls_as_a_whole(
    page: Page, olga: User, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    batch = failed_batch(olga, size=40)
    page.goto("/")
    # The dialog as an answer brings it: a batch that has ended meanwhile.
    page.evaluate("document.querySelector('#cut-all').click()")
    page.wait_for_selector("#dialog [data-press-and-hold]")
    page.locator("#dialog [data-press-and-hold]").click()
    page.wait_for_timeout(800)
    page.route(
        "**/cancel-all/",
        lambda route: route.fulfill(
            status=202, content_type="text/html", body=dialog_of(page, batch)
        ),
    )
    page.locator("#dialog [data-second]").click()
    result = page.locator("#dialog .batch")
    expect(result.locator(".summary")).to_contain_text("8 of 40 not confirmed")
    assert page.locator("#dialog-body").evaluate(SCROLLERS) == []
    items = result.locator(".outcomes > li")
    statuses = [item.get_attribute("data-status") for item in items.all()]
    assert set(statuses[:8]) == {"REJECTED", "RESIDUAL", "UNKNOWN", "NOT_DELIVERED"}
    assert set(statuses[8:]) == {"CONFIRMED"}
    box = page.locator("#dialog").bounding_box()
    assert box is not None
    assert box["width"] > (340 if width == 390 else 880)
    columns = {round(item.bounding_box()["x"]) for item in items.all()}  # type: ignore[index]
    assert len(columns) == (1 if width == 390 else 2)
    assert shadow(page.locator("#dialog .acts")) != "none"
    if PICTURES:
        picture(page, f"R-dialog-{width}")
    page.locator("#dialog").evaluate("each => each.scrollTo(0, each.scrollHeight)")
    expect(page.locator("#dialog .acts")).to_be_in_viewport()


def dialog_of(page: Page, batch: Batch) -> str:
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username="olga"))
    answer = client.get(f"/poll/?known=0&show=dialog:{batch.uuid}")
    part = re.search(r'<section id="batch-.*?</section>', answer.content.decode(), re.DOTALL)
    assert part
    return (
        '<div class="ask asked"><h2 id="dialog-title" tabindex="-1">Cancel all</h2>'
        f'{part[0]}<div class="acts calm"><button data-back class="button">Close</button></div>'
        "</div>"
    )


def shadow(element: Locator) -> str:
    return str(element.evaluate("each => getComputedStyle(each).boxShadow"))


def pressed_once(page: Page, olga: User) -> None:
    """Cancel on one exchange and keep the dialog open."""
    states.question(page, olga)
    page.locator("#dialog [data-go]").click()
    page.locator("#dialog details summary", has_text="Add reason").click()


def test_a_reason_is_added_in_the_dialog_and_the_officer_stays(page: Page, olga: User) -> None:
    pressed_once(page, olga)
    url = page.url
    dialog = page.locator("#dialog")
    dialog.get_by_role("button", name="Save reason").click()
    expect(dialog.get_by_role("alert").filter(has_text="Select or enter")).to_be_visible()
    expect(dialog.get_by_label("Details")).to_be_focused()
    dialog.get_by_label("Select a reason").select_option("Other")
    dialog.get_by_role("button", name="Save reason").click()
    expect(dialog.get_by_text("Enter details for “Other”.")).to_be_visible()
    assert dialog.get_by_label("Select a reason").input_value() == "Other"
    dialog.get_by_label("Details").fill("strategy 7")
    dialog.get_by_role("button", name="Save reason").click()
    expect(dialog.locator(".saved")).to_contain_text("Reason saved")
    expect(dialog.locator(".saved")).to_be_focused()
    assert page.url == url
    assert Batch.objects.latest("id").completed_reason == "Other: strategy 7"
    page.wait_for_timeout(1500)  # a poll later
    expect(dialog.locator(".saved")).to_be_visible()
    expect(dialog.get_by_role("button", name="Save reason")).to_have_count(0)


def test_what_is_typed_survives_a_poll_and_a_failure(
    page: Page, olga: User, complaints: Complaints
) -> None:
    pressed_once(page, olga)
    dialog = page.locator("#dialog")
    dialog.get_by_label("Details").fill("strategy 7")
    page.route("**/reason/", lambda route: route.abort())
    dialog.get_by_role("button", name="Save reason").click()
    expect(dialog.locator("[data-reason-error]")).to_contain_text("may not have been saved")
    factories.bring(Batch.objects.latest("id").requests.get(), Status.REJECTED)
    outcome = dialog.locator(".outcomes [data-status=REJECTED]")
    expect(outcome).to_be_visible(timeout=15_000)
    assert dialog.get_by_label("Details").input_value() == "strategy 7"
    expect(dialog.locator("[data-reason-error]")).to_be_visible()
    page.unroute("**/reason/")
    page.route("**/reason/", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    dialog.get_by_role("button", name="Save reason").click()
    page.wait_for_timeout(300)
    assert dialog.get_by_label("Details").input_value() == "strategy 7"
    complaints.forgive()


def test_a_reason_is_added_without_javascript(
    browser: Browser, live_server: Any, olga: User
) -> None:
    request = residual(olga, orders=1)
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, olga, live_server.url)
    tab = context.new_page()
    path = f"/requests/{request.uuid}/"
    tab.goto(path)
    tab.locator("summary", has_text="Add reason").click()
    tab.get_by_label("Select a reason").select_option("Other")
    tab.get_by_role("button", name="Save reason").click()
    expect(tab.locator("h1")).to_have_text("The reason was not saved")
    expect(tab.locator("[data-reason-error]")).to_have_text("Enter details for “Other”.")
    assert tab.get_by_label("Select a reason").input_value() == "Other"
    assert tab.get_by_role("link", name="Back to the cancel").get_attribute("href") == path
    tab.get_by_label("Details").fill("strategy 7")
    tab.get_by_role("button", name="Save reason").click()
    expect(tab).to_have_url(re.compile(re.escape(path) + "#reason$"))
    expect(tab.locator(".saved")).to_contain_text("Reason saved")
    context.close()


@pytest.mark.parametrize("what", ["request", "batch", "evidence"])
@pytest.mark.parametrize("role", [Role.RISK_OFFICER, Role.COMPLIANCE])
def test_a_print_has_no_empty_page_and_keeps_the_colours(
    browser: Browser, live_server: Any, olga: User, what: str, role: Role
) -> None:
    request = residual(olga, orders=40)
    batch = failed_batch(olga, size=20)
    path = {
        "request": f"/requests/{request.uuid}/",
        "batch": f"/batches/{batch.uuid}/",
        "evidence": f"/batches/{batch.uuid}/evidence/",
    }[what]
    user = olga if role == Role.RISK_OFFICER else factories.person(role)
    context = browser.new_context(base_url=live_server.url, color_scheme="dark")
    sign_in(context, user, live_server.url)
    tab = context.new_page()
    tab.goto(path)
    pdf = tab.pdf(prefer_css_page_size=True, print_background=False)
    if PICTURES:
        (Path(PICTURES) / f"R-{what}-{role}.pdf").write_bytes(pdf)
    limit = {"request": 4, "batch": 2, "evidence": 10}[what] + (role == Role.COMPLIANCE) * 2
    assert pages_of(pdf) <= limit
    tab.emulate_media(media="print", color_scheme="dark")
    hidden = tab.locator("nav, form, .links, .copy, .alarms, dialog, .banner, .held").all()
    assert [each for each in hidden if each.is_visible()] == []
    for tone in {"request": ["warn"]}.get(what, ["bad", "warn", "odd", "good"]):
        status = tab.locator(f"main .st.{tone}").first
        assert status.evaluate("each => getComputedStyle(each).color") != "rgb(0, 0, 0)"
        assert status.evaluate("each => getComputedStyle(each).printColorAdjust") == "exact"
    tab.goto("about:blank")
    context.close()


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_the_pack_and_the_batch_fit_every_screen(page: Page, olga: User, width: int) -> None:
    residual(olga)
    batch = failed_batch(olga, size=30)
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark" if width == 768 else "light")
    for path, name in ((f"/batches/{batch.uuid}/", "batch"), ("evidence/", "evidence")):
        page.goto(path if path.startswith("/") else f"/batches/{batch.uuid}/{path}")
        assert page.evaluate(OVERFLOW) <= 0
        assert page.locator("main").evaluate(CLIPPED) == []
        if PICTURES:
            picture(page, f"R-{name}-{width}", full=True)


def test_a_symbol_breaks_after_its_separators_only(page: Page, olga: User) -> None:
    request = residual(olga, orders=4, attempts=1)
    request.residual_orders.filter(client_order_id__endswith="2").update(
        symbol="COINBASE_SPOT_POTATO_ADA_USD"
    )
    page.goto(f"/requests/{request.uuid}/")
    for width in (360, 390, 768, 901, 1024, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(BROKEN_WORDS) == [], width
        assert page.evaluate(OVERFLOW) <= 0, width
    text = page.locator("#orders td b", has_text="COINBASE").text_content()
    assert text == "COINBASE_SPOT_POTATO_ADA_USD", "copied as it is"
