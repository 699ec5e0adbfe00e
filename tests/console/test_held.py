"""Holds on the console, in the header of every page, and what the poller brings of them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.holds.models import Hold
from killswitch.runtime.revisions import current
from killswitch.runtime.templatetags.text import time_minutes
from tests import factories
from tests.console.test_console import row
from tests.console.test_poll import PANELS, ids, poll
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def seconds_ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def hold_line(page: str, exchange: Exchange) -> str:
    """Return what the row says of the Hold, without what it hides."""
    line = re.search(r'<small class="holdline".*?</small>', row(page, exchange))
    assert line
    text = re.sub(r"<span[^>]* hidden>.*?</span>", "", line[0])
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text)).strip()


def header(page: str) -> str:
    part = re.search(r'<div id="held".*?</div>', page)
    assert part
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", part[0])).strip()


@pytest.fixture
def kraken(db: None) -> Exchange:
    return factories.exchange("KRAKEN", name="Kraken", orders=3)


def test_a_row_without_a_hold_offers_one(officer: Client, kraken: Exchange) -> None:
    shown = row(html(officer.get("/")), kraken)
    assert "data-hold" not in shown
    assert f'href="/exchanges/{kraken.pk}/hold/" data-ask' in shown
    assert "release" not in shown


def test_a_held_row_says_since_when_and_what_was_seen(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    started_at = timezone.now() - holding.HOUR
    hold = holding.with_orders(holding.start(olga, kraken, started_at=started_at))
    page = html(officer.get("/"))
    shown = row(page, kraken)
    assert 'data-exchange-id="KRAKEN" data-hold="ACTIVE"' in shown
    last_seen = f"{hold.last_order_at:%H:%M:%S}"  # the page counts its age
    pattern = rf"Held 02:14:\d\d · 3 episodes · 17 orders · last seen {last_seen}"
    assert re.fullmatch(pattern, hold_line(page, kraken))
    assert f'href="/exchanges/{kraken.pk}/release/"' in shown
    assert f'href="/exchanges/{kraken.pk}/cancel-all/"' in shown


@pytest.mark.parametrize(
    ("fields", "ages", "words"),
    [
        ({}, {}, r"· no orders seen"),
        ({"episode_count": 1}, {}, r"· 1 episode · no orders seen"),
        ({"episode_count": 1, "orders_seen": 1}, {}, r"· 1 episode · 1 order"),
        ({}, {"last_read_at": 4}, r"· no orders seen"),
        ({}, {"last_read_at": 25}, r"· not enforced\? last read 2\d s ago"),
        # A clock was set back: a time in the future proves nothing.
        ({}, {"last_read_at": -300}, r"· not enforced\? read at an unknown time"),
        ({}, {"last_read_at": 300}, r"· not enforced\? last read 5 min ago"),
        ({"last_read_at": None}, {}, r"· no orders seen"),
        ({"last_read_at": None}, {"started_at": 20}, r"· not enforced\? never read by the Hold"),
        (
            {},
            {"last_read_at": 25, "blind_since": 20},
            r"· blind since \d\d:\d\d:\d\d · last read 2\d s ago",
        ),
    ],
)
def test_it_says_less_when_less_is_known(  # noqa: PLR0917
    officer: Client,
    olga: User,
    kraken: Exchange,
    fields: dict[str, Any],
    ages: dict[str, float],
    words: str,
) -> None:
    times = {name: seconds_ago(seconds) for name, seconds in ages.items()}
    holding.start(olga, kraken, **fields, **times)
    line = hold_line(html(officer.get("/")), kraken)
    assert re.fullmatch(rf"Held [\d:]+ {words}", line), line


def test_a_requested_release_says_by_whom_and_until_when(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.request_release(holding.start(olga, kraken), olga)
    page = html(officer.get("/"))
    assert 'data-hold="RELEASE_REQUESTED"' in row(page, kraken)
    until = holding.ends_at(hold)
    assert f"· release until {until:%H:%M}, requested by Olga Ray" in hold_line(page, kraken)
    holding.let_lapse(hold)
    assert "release until" not in hold_line(html(officer.get("/")), kraken)


def test_a_blind_hold_needs_attention(officer: Client, olga: User, kraken: Exchange) -> None:
    factories.exchange("FIRST", position=-1)
    holding.start(olga, kraken, blind_since=timezone.now())
    page = html(officer.get("/"))
    assert 'class="attn bad"' in row(page, kraken)
    assert re.findall(r'data-exchange-id="(\w+)"', page) == ["KRAKEN", "FIRST"]


def test_a_disabled_exchange_stays_while_it_is_held(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    hold = holding.start(olga, kraken)
    known = current()
    factories.change(kraken, enabled=False)
    for page in (html(officer.get("/")), html(poll(officer, "console", known=known))):
        shown = row(page, kraken)
        assert "data-gone" not in page
        assert "disabled, still held" in hold_line(page, kraken)
        assert "cancel-all" not in shown
        assert f"/exchanges/{kraken.pk}/release/" in shown
    assert "No exchange is enabled here" in html(officer.get("/")), "it is in no sum"
    known = current()
    holding.release(hold, requested_by=olga, confirmed_by=holding.ivan())
    page = html(poll(officer, "console", known=known))
    assert f'<tr id="x{kraken.pk}" data-gone>' in page
    assert "data-exchange-id" not in html(officer.get("/"))


def test_a_held_exchange_is_not_called_one_that_cannot_be_cancelled(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    factories.change(kraken, enabled=False)
    for exchange_id in ("KRAKEN", "OKEX"):
        UncoveredExchange.objects.create(exchange_id=exchange_id, open_orders=3)
    page = html(officer.get("/"))
    assert "2 exchanges not enabled here" in page
    assert page.count("disabled by an administrator") == 1
    known = current()
    holding.start(olga, kraken)
    for page in (html(officer.get("/")), html(poll(officer, "console", known=known))):
        assert "1 exchange not" in page
        assert page.count('<li id="uncovered-') == 1
        assert "OKEX (3 open)" in page


def test_the_header_of_every_page_counts_them(
    officer: Client, compliance: Client, olga: User, settings: Any
) -> None:
    one, two = factories.exchanges(2)
    assert header(html(officer.get("/requests/"))) == ""
    first = holding.start(olga, one, started_at=timezone.now() - holding.HOUR)
    assert header(html(officer.get("/requests/"))) == (
        f"1 exchange held · since {time_minutes(first.started_at)}"
    )
    holding.start(olga, two)
    text = f"2 exchanges held · since {time_minutes(first.started_at)}"
    for client, path in ((officer, "/"), (compliance, "/audit/"), (compliance, "/")):
        page = html(client.get(path))
        assert header(page) == text
        assert 'name="show" value="holds"' in page
        assert f"/exchanges/{one.pk}/release/" not in html(compliance.get("/"))
    settings.HOLD_RELEASE_PERSONS = 1
    assert header(html(officer.get("/requests/"))) == f"{text} · one risk officer can release"
    factories.change(first, blind_since=timezone.now(), last_read_at=seconds_ago(30))
    assert header(html(officer.get("/"))).startswith("2 exchanges held · 1 blind · since")
    factories.change(first, blind_since=None)
    assert header(html(officer.get("/"))).startswith("2 exchanges held · 1 not enforced? · since")


def test_an_idle_page_polls_for_holds_only_while_there_are_any(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    assert poll(officer, "console").status_code == 204
    holding.start(olga, kraken)
    before = html(poll(officer, "console", "holds"))
    # The enforcement writes this every second, and raises no revision.
    Hold.objects.update(last_read_at=seconds_ago(20))
    with CaptureQueriesContext(connection) as queries:
        answer = poll(officer, "console", "holds", known=current())
    assert ids(answer) == ["held", "known"]
    # An idle page's own, and one more. One is this test's own current().
    assert len(queries) - 1 == 4
    reads = [
        int(re.findall(rf'data-reads="{kraken.pk}:(\d+)"', page)[0])
        for page in (before, html(answer))
    ]
    assert 18_000 < reads[0] - reads[1] < 25_000
    assert abs(int(answer["X-Now"]) - 20_000 - reads[1]) < 3000
    Hold.objects.update(last_read_at=None)
    page = html(poll(officer, "holds"))
    assert re.search(rf'data-reads="{kraken.pk}:-\d+"', page), "never read"
    Hold.objects.update(last_read_at=seconds_ago(-300))
    assert f'data-reads="{kraken.pk}:unknown"' in html(poll(officer, "holds"))


def test_a_hold_that_starts_changes_and_ends_reaches_every_page(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    factories.exchange("OTHER")
    known = current()
    hold = holding.start(olga, kraken)
    assert ids(poll(officer, "console", known=known)) == [
        "held",
        f"x{kraken.pk}",
        *PANELS,
        "known",
    ]
    assert ids(poll(officer, "requests:newest", known=known)) == ["held", "known"]
    known = current()
    holding.request_release(hold, olga)
    page = html(poll(officer, "console", known=known))
    assert 'data-hold="RELEASE_REQUESTED"' in row(page, kraken)
    known = current()
    holding.confirm_release(hold, holding.ivan())
    page = html(poll(officer, "console", "holds", known=known))
    assert "data-hold=" not in row(page, kraken)
    assert header(page) == ""
    assert 'value="holds"' not in page


def test_the_batch_that_holds_and_the_page_of_the_release_follow(
    officer: Client, compliance: Client, olga: User, kraken: Exchange
) -> None:
    batch = factories.press(olga, kraken, hold=True)
    factories.bring(batch.requests.get(), Status.CONFIRMED)
    hold = Hold.objects.get()
    known = current()
    shown = (f"batch:{batch.uuid}", f"release:{kraken.pk}")
    assert ids(poll(officer, *shown)) == []
    holding.request_release(hold, olga)
    answer = poll(officer, *shown, known=known)
    assert ids(answer) == ["held", f"batch-{batch.uuid}", f"release-{kraken.pk}", "known"]
    assert f"release-{kraken.pk}" not in ids(poll(compliance, *shown, known=known))
    for nonsense in ("release:", "release:x", "release:99", "release:99999999999999999999"):
        assert ids(poll(officer, nonsense, known=0)) == ["held", "known"]
