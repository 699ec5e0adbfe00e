"""The pages of compliance in a real browser: every screen, news, marking, printing."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from playwright.sync_api import Browser, BrowserContext, Page, PdfMargins, expect

from killswitch.accounts.models import Role, User
from killswitch.audit import chain
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind, Verification
from killswitch.audit.review import ReviewInput, record_review
from tests import factories
from tests.audit import event_factories, request_factories
from tests.audit.log import record
from tests.browser.conftest import Complaints, sign_in
from tests.browser.test_looks import CONTRAST, HEIGHT, NAMES, PICTURES, picture

WIDTHS = (360, 390, 768, 1280, 2560)
LONG = {"log", "hostile", "broken", "opened"}  # pages of which the top is enough to look at
Scene = Callable[[Page], None]


@pytest.fixture
def context(browser: Browser, live_server: Any, olga: User) -> Iterator[BrowserContext]:
    """A window in which Carl of compliance has signed in."""
    made = browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900})
    sign_in(made, factories.person(Role.COMPLIANCE), live_server.url)
    yield made
    made.close()


def verification(*, ok: bool = True, reason: str = "", first_bad: int | None = None) -> None:
    """What the observer found a moment ago."""
    head = chain.head()
    Verification.objects.create(
        id=1,
        at=Now(),
        ok=ok,
        head_seq=head.seq,
        head_hash=head.hash,
        first_bad_seq=first_bad,
        reason=reason,
        whole_at=Now(),
        whole_seq=head.seq,
    )


def filled() -> None:
    """A week of events of every kind, some of them reviewed."""
    since = datetime.now(UTC) - timedelta(days=9)
    request_factories.weeks(8, since=since)
    request_factories.denied(since + timedelta(days=8), count=10)
    request_factories.changed(since + timedelta(days=8, minutes=1))
    remark = ReviewInput(
        mark="REVIEWED", seqs=[1, 3], note="", by=request_factories.CARL, origin={}
    )
    record_review(remark)
    record_review(
        ReviewInput(
            mark=EventKind.QUERIED,
            seqs=[4],
            note="Which desk?",
            by=request_factories.CARL,
            origin={},
        )
    )
    verification()


def log(page: Page) -> None:
    filled()
    page.goto("/audit/")


def hostile(page: Page) -> None:
    request_factories.hostile()
    page.goto("/audit/")


def broken(page: Page) -> None:
    filled()
    Verification.objects.all().delete()
    verification(ok=False, reason="event 17 does not have the hash of its columns", first_bad=17)
    page.goto("/audit/")


def refused(page: Page) -> None:
    filled()
    page.goto("/audit/?from=yesterday&exchange=KRAKEN&kind=NONSENSE")


def opened(page: Page) -> None:
    log(page)
    page.locator("#e53 summary").click()


def event(page: Page) -> None:
    filled()
    page.goto("/audit/events/4/")


def request(page: Page) -> None:
    User.objects.filter(username="olga").delete()  # the history brings its own
    residual = event_factories.live()["residual"]
    page.goto(f"/requests/{residual.uuid}/")


def outcomes(page: Page) -> None:
    request_factories.weeks(60)
    page.goto("/audit/outcomes/?from=2026-03-02&to=2026-04-30")


def no_outcomes(page: Page) -> None:
    page.goto("/audit/outcomes/")


def review(page: Page) -> None:
    filled()
    page.goto("/audit/review/")


def period(page: Page) -> None:
    filled()
    days = [datetime.now(UTC) - timedelta(days=ago) for ago in (9, 2)]
    page.goto(f"/audit/sign-offs/?from={days[0]:%Y-%m-%d}&to={days[1]:%Y-%m-%d}")


def report(page: Page) -> None:
    period(page)
    page.locator("#p-note").fill("Three denials are being looked into.")
    page.get_by_role("button", name="Sign off as").click()


SCENES: dict[str, Scene] = {
    "log": log,
    "hostile": hostile,
    "broken": broken,
    "refused": refused,
    "opened": opened,
    "event": event,
    "request": request,
    "outcomes": outcomes,
    "no-outcomes": no_outcomes,
    "review": review,
    "period": period,
    "report": report,
}


@pytest.mark.parametrize("name", SCENES)
def test_a_page_is_legible_named_and_fits_every_screen(
    page: Page, complaints: Complaints, name: str
) -> None:
    SCENES[name](page)
    assert page.evaluate(NAMES) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": HEIGHT})
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert page.evaluate(overflow) <= 0, f"{width} px"
            if PICTURES and width in {390, 1280, 2560}:
                picture(page, f"audit-{name}-{width}-{scheme}", full=name not in LONG)
    # A page that was refused is an error to the browser, and nothing else is one here.
    assert all("400" in complaint for complaint in complaints)
    complaints.forgive()


def test_new_events_announce_themselves_and_move_nothing(page: Page) -> None:
    log(page)
    page.locator("#e50 summary").click()
    expect(page.locator("[hx-get]")).to_have_count(1)
    top = page.locator("#e51").bounding_box()
    record(*(NewEvent(kind=EventKind.SIGNED_IN) for _ in range(3)))
    expect(page.locator("#news")).to_have_text("3 new events")
    expect(page.locator("#announce")).to_have_text("3 new events")
    assert page.locator("tbody tr").first.get_attribute("id") == "e53"
    assert page.locator("#e51").bounding_box() == top
    assert page.locator("#e50 details").get_attribute("open") is not None
    record(NewEvent(kind=EventKind.SIGNED_IN))
    expect(page.locator("#news")).to_have_text("4 new events")
    page.locator("#news a").click()
    expect(page.locator("tbody tr").first).to_have_attribute("id", "e57")
    expect(page.locator("#news")).to_have_text("")


def test_a_verification_that_fails_meanwhile_shows_at_once(page: Page) -> None:
    log(page)
    expect(page.locator("#badge")).to_contain_text("Verified")
    Verification.objects.update(at=Now(), ok=False, reason="event 17 was changed", first_bad_seq=17)
    expect(page.locator("#badge")).to_contain_text("Verification failed")
    expect(page.locator("#badge a")).to_have_attribute("href", "/audit/events/17/")


def test_what_is_ticked_is_marked_and_the_page_says_where_it_stands(page: Page) -> None:
    request_factories.denied(request_factories.START)
    request_factories.changed(request_factories.START)
    page.goto("/audit/?unreviewed=1")
    page.get_by_label("All on this page").check()
    expect(page.locator("[data-picked]")).to_have_text("3 selected")
    page.locator("#e2 input").uncheck()
    expect(page.locator("[data-picked]")).to_have_text("2 selected")
    page.locator("#note").fill("Asked Ada on the phone.")
    page.get_by_role("button", name="Mark as reviewed").click()
    expect(page.locator("#just-marked")).to_contain_text("event 5: Reviewed")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#e2")).to_contain_text("Needs review")
    noted = AuditEvent.objects.filter(kind=EventKind.REVIEWED, data__contains="Asked Ada")
    assert noted.count() == 2


def test_it_all_works_without_javascript(browser: Browser, live_server: Any, olga: User) -> None:
    request_factories.denied(request_factories.START)
    window = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(window, factories.person(Role.COMPLIANCE), live_server.url)
    tab = window.new_page()
    tab.goto("/audit/")
    tab.locator("#f-kind").select_option("DENIED")
    tab.get_by_role("button", name="Filter").click()
    tab.locator("#e1 input").check()
    tab.locator("#note").fill("Why?")
    tab.get_by_role("button", name="Raise query").click()
    expect(tab.locator("#just-marked")).to_contain_text("Query raised")
    assert "kind=DENIED" in tab.url
    tab.goto("/audit/events/1/")
    tab.locator("#note").fill("By mistake.")
    tab.get_by_role("button", name="Close query").click()
    expect(tab.locator("#just-marked")).to_contain_text("Query closed")
    window.close()


def printed(page: Page) -> int:
    """Return how many sheets of A4 the page takes."""
    edge = "12mm"
    margins: PdfMargins = {"top": edge, "bottom": edge, "left": edge, "right": edge}
    document = page.pdf(format="A4", margin=margins)
    return len(re.findall(rb"/Type\s*/Page\b", document))


@pytest.mark.parametrize(
    ("scene", "sheets"),
    [("log", 6), ("event", 2), ("outcomes", 4), ("review", 3), ("report", 2)],
)
def test_a_page_is_printed_on_few_sheets(page: Page, scene: str, sheets: int) -> None:
    SCENES[scene](page)
    page.wait_for_load_state()
    assert 1 <= printed(page) <= sheets


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outcomes_keep_their_colours_and_hatches_on_paper(page: Page, scheme: str) -> None:
    outcomes(page)
    page.emulate_media(media="print", color_scheme=scheme)  # type: ignore[arg-type]
    fills = page.evaluate(
        """() => ["CONFIRMED", "RESIDUAL", "UNVERIFIED", "REJECTED", "NOT_DELIVERED", "UNKNOWN"]
            .map((status) => document.querySelector(`.plot .k-${status}`))
            .map((shape) => getComputedStyle(shape))
            .map((style) => [style.fill, style.printColorAdjust])"""
    )
    assert len({fill for fill, _ in fills}) == 6
    assert {adjust for _, adjust in fills} == {"exact"}
    assert "rgb(0, 0, 0)" not in {fill for fill, _ in fills}


def test_eight_events_are_visible_on_a_small_screen(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    log(page)
    bottoms = page.evaluate(
        "[...document.querySelectorAll('.log tbody tr')].map(r => r.getBoundingClientRect().bottom)"
    )
    assert sum(bottom <= 800 for bottom in bottoms) >= 8
    fields = page.locator(".log-filter .fields").first.bounding_box()
    assert fields
    assert fields["height"] < 70, "the filter is one line"


def test_the_figures_of_a_day_fit_on_a_small_screen(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    outcomes(page)
    overflows = page.evaluate(
        "[...document.querySelectorAll('.scroll:has(.list)')]"
        ".map(box => box.scrollWidth - box.clientWidth)"
    )
    assert overflows
    assert set(overflows) == {0}


def test_the_newest_days_are_in_view_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    outcomes(page)
    last = page.locator(".plot").first.locator("g rect").last.bounding_box()
    assert last
    assert 0 < last["x"] < 390


def test_the_buttons_of_a_review_wait_for_something_to_review(page: Page) -> None:
    request_factories.denied(request_factories.START)
    page.goto("/audit/")
    reviewed = page.get_by_role("button", name="Mark as reviewed")
    query = page.get_by_role("button", name="Raise query")
    expect(reviewed).to_be_disabled()
    expect(page.locator("[data-picked]")).to_have_text("Select what you want to review")
    page.locator("#e1 input").check()
    expect(reviewed).to_be_enabled()
    expect(query).to_be_disabled()
    page.locator("#note").fill("Why?")
    expect(query).to_be_enabled()


def test_a_report_prints_without_buttons_and_with_a_place_to_sign(page: Page) -> None:
    report(page)
    page.emulate_media(media="print")
    for gone in ("nav.tabs", ".links", ".top nav", "#banner"):
        assert not page.locator(gone).first.is_visible()
    for there in (".report h1", ".counts", ".hashes", ".signature"):
        assert page.locator(there).first.is_visible()
    if PICTURES:
        page.set_viewport_size({"width": 800, "height": 1100})
        picture(page, "audit-report-print", full=True)
