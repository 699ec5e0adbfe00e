"""The telephone cards in a browser: on screens and paper, open for long, and as a saved copy."""

from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from killswitch.accounts.models import User
from killswitch.break_glass.telephone.cards import Call, record_call
from killswitch.exchanges.models import Exchange, OpenOrderList
from tests import factories
from tests.browser.axe import violations
from tests.browser.conftest import Complaints
from tests.browser.test_records import OVERFLOW, pages_of

WIDTHS = (360, 768, 1280)


def crowded_cards(olga: User) -> Exchange:
    """Return an exchange with a long card, between one with none of it and one with long names."""
    now = datetime.now(UTC)
    factories.exchange("A", orders=0)
    exchange = factories.exchange(
        "KRAKEN",
        name="Kraken",
        orders=57,
        caveat=factories.CAVEAT,
        emergency_phone="+44 20 7946 0000",
        contact="Desk Ann +44 20 7946 1111",
        member_ids="KS-0042, clearing 991",
        session_ids="KS_FIX_1, KS_FIX_2",
        what_they_ask="1. Member ID\n2. Call back to our desk\n3. Which sessions",
    )
    orders = [
        {
            "symbol": "XBT/USD",
            "side": "BUY",
            "price": "64000.5",
            "amount_open": "0.25",
            "client_order_id": f"c-2026-11-30-{number:06}",
            "exchange_order_id": f"O7F3K-{number:05}-XYZ",
            "first_seen_at": now.isoformat(),
        }
        for number in range(30)
    ]
    OpenOrderList.objects.create(configured_exchange=exchange, total=57, read_at=now, orders=orders)
    call = Call(telephoned_at=now, spoke_to="Ann, night desk", reference="REF-778", note="")
    record_call(exchange.pk, call, nonce="n", by=olga.actor, origin={})
    long = {"emergency_phone": "9" * 100, "session_ids": "S" * 500, "what_they_ask": "Z" * 500}
    factories.exchange("X" * 60, name="Y" * 80, orders=None, enabled=False, **long)
    return exchange


def test_cards_fit_screens_and_paper_and_keep_what_is_typed(
    page: Page, olga: User, browser: Browser, complaints: Complaints, tmp_path: Path
) -> None:
    exchange = crowded_cards(olga)
    page.goto("/telephone-cards/")
    card = page.locator(f"#card-{exchange.pk}")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERFLOW) <= 0, width
    card.get_by_text("I telephoned", exact=True).click()
    assert complaints == []
    assert violations(page) == []
    complaints.clear()  # axe writes styles that the policy refuses
    card.get_by_label("Spoke to").fill("Ann")
    factories.change(exchange, emergency_phone="999", open_orders=58)
    expect(card.locator(".phone")).to_contain_text("999")
    expect(card.locator(".card-figure")).to_contain_text("58 open orders as of")
    expect(card.get_by_label("Spoke to")).to_have_value("Ann")
    card.get_by_role("button", name="Record the call").click()
    expect(page.get_by_role("status").filter(has_text="Your call is recorded")).to_be_visible()
    assert page.url.endswith(f"/telephone-cards/{exchange.pk}/")

    with page.expect_download() as download:
        page.get_by_text("Download a copy of all cards").click()
    copy = tmp_path / "cards.html"
    download.value.save_as(copy)
    tab = browser.new_page(viewport={"width": 360, "height": 900})
    requested: list[str] = []
    tab.on("request", lambda request: requested.append(request.url))
    tab.goto(copy.as_uri())
    assert tab.evaluate(OVERFLOW) <= 0
    assert tab.locator("article").count() == 3
    assert tab.locator(".phone").nth(1).evaluate("e => getComputedStyle(e).borderTopWidth") == "2px"
    assert pages_of(tab.pdf(format="A4")) >= 3
    assert requested == [copy.as_uri()]
    tab.close()
