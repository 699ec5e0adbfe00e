"""The page of an exchange: its figure, its orders, its Hold, its history and its last hours."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm
from killswitch.audit.canonical_json import utc_text
from killswitch.cancels.states import Status
from killswitch.console.exchange_page import MAX_EPISODES, MAX_HOLDS, MAX_REQUESTS, total_amount
from killswitch.console.open_order_chart import OpenOrderChart
from killswitch.exchanges.models import Exchange, Observation, OpenOrderList, OpenOrderSample
from killswitch.holds import services as holds
from killswitch.holds.models import Episode, Hold, HoldState
from killswitch.holds.services import Act
from killswitch.runtime.revisions import current, next_revision
from tests import factories
from tests.console.test_poll import ids, poll
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def kraken(db: None) -> Exchange:
    return factories.exchange("KRAKEN/JOHN", name="Kraken, John", orders=3)


def order(number: int = 1, **fields: str) -> dict[str, str]:
    """Return an order as it is stored."""
    return {
        "symbol": "KRAKEN_SPOT_BTC_USD",
        "side": "BUY",
        "price": "61250.5",
        "amount_open": "0.1",
        "status": "NEW",
        "client_order_id": f"c{number}",
        "exchange_order_id": f"e{number}",
        "first_seen_at": utc_text(datetime.now(UTC) - timedelta(minutes=number)),
    } | fields


def store(
    exchange: Exchange, orders: Iterable[dict[str, str]], *, total: int | None = None
) -> OpenOrderList:
    """Store orders as the observer does."""
    rows = sorted(orders, key=lambda row: row["first_seen_at"])
    order_list = OpenOrderList(
        configured_exchange=exchange,
        orders=rows,
        total=len(rows) if total is None else total,
        read_at=exchange.seen_at or datetime.now(UTC),
    )
    factories.change(order_list)
    return order_list


def page(client: Client, exchange: Exchange, query: str = "") -> str:
    answer = client.get(f"/exchanges/{exchange.pk}/{query}")
    assert answer.status_code == 200
    return html(answer)


def section(text: str, name: str) -> str:
    found = re.search(rf'<section[^>]* id="{name}".*?</section>', text, re.S)
    assert found, text
    return found[0]


def hold(exchange: Exchange, user: User, **fields: Any) -> Hold:
    """Hold an exchange; with `released_by`, release it again."""
    started = holds.start_hold(exchange, act=Act.of_user(user), reason="Runaway algorithm").hold
    for name, value in fields.items():
        setattr(started, name, value)
    if "released_by" in fields:
        started.state = HoldState.RELEASED
        started.release_requested_at = started.released_at = datetime.now(UTC)
        started.release_requested_by = "Olga Ray (olga)"
    started.save()
    return started


def episodes(held: Hold, user: User, count: int) -> None:
    for number in range(1, count + 1):
        request = factories.press(user, held.configured_exchange).requests.get()
        Episode.objects.create(hold=held, request=request, number=number, orders_seen=5)
    held.episode_count = count
    held.save()


def test_the_page_names_the_exchange_and_the_environment(
    officer: Client, kraken: Exchange, settings: Any
) -> None:
    settings.KILLSWITCH_ENVIRONMENT = "uat"
    heading = re.search(r"<h1>.*?</h1>", page(officer, kraken), re.S)
    assert heading
    for words in ("Kraken, John", "<code>KRAKEN/JOHN</code>", "UAT"):
        assert words in heading[0]


@pytest.mark.parametrize(("role", "may_cancel"), [(Role.RISK_OFFICER, 1), (Role.COMPLIANCE, 0)])
def test_both_roles_see_it_and_the_officer_can_cancel(
    kraken: Exchange, role: Role, may_cancel: int
) -> None:
    client = Client()
    client.force_login(factories.person(role))
    assert page(client, kraken).count(f'href="/exchanges/{kraken.pk}/cancel-all/"') == may_cancel


def test_administrators_and_strangers_do_not_see_it(kraken: Exchange) -> None:
    client = Client()
    assert client.get(f"/exchanges/{kraken.pk}/").status_code == 302
    client.force_login(factories.person(Role.ADMINISTRATOR))
    assert client.get(f"/exchanges/{kraken.pk}/").status_code == 403


@pytest.mark.parametrize("pk", [0, 999_999, 10**30])
def test_an_unknown_exchange_is_not_found_with_a_sentence(officer: Client, pk: int) -> None:
    answer = officer.get(f"/exchanges/{pk}/")
    assert answer.status_code == 404
    assert "There is no exchange with this ID." in html(answer)
    answer = officer.get(f"/requests/?exchange={pk}")
    assert answer.status_code == 400
    assert "There is no exchange with this ID or name" in html(answer)


@pytest.mark.parametrize("hours", ["", "?hours=24", "?hours=5", "?hours=x", "?hours=-1"])
def test_any_number_of_hours_is_answered(officer: Client, kraken: Exchange, hours: str) -> None:
    words = "last 24 hours" if hours == "?hours=24" else "last 6 hours"
    assert words in page(officer, kraken, hours)


def test_the_orders_are_grouped_by_symbol_and_side(officer: Client, kraken: Exchange) -> None:
    store(kraken, [order(1), order(2, amount_open="0.20"), order(3, side="SELL", amount_open="x")])
    text = page(officer, kraken)
    groups = [
        re.sub(r"<[^>]+>|\s+", " ", row).split()
        for row in re.findall(r"<tr>.*?</tr>", section(text, "exchange-groups"), re.S)[1:]
    ]
    assert groups[0][:4] == ["KRAKEN_SPOT_BTC_USD", "BUY", "2", "orders"]
    assert groups[0][4] == "0.30"
    assert groups[1][:3] == ["KRAKEN_SPOT_BTC_USD", "SELL", "1"]
    assert "some amounts are unreadable" in " ".join(groups[1])
    listed = section(text, "exchange-orders")
    assert re.findall(r"<code>(\w+)</code>", listed) == ["c3", "e3", "c2", "e2", "c1", "e1"]
    assert "3 open orders" in listed


@pytest.mark.parametrize(
    ("amounts", "total"),
    [
        ([], "0"),
        (["0.10", "0.20"], "0.30"),
        (["1e-8", "2"], "2.00000001"),
        (["1E+2", "0"], "100"),
        (["9" * 60, "1"], "1" + "0" * 60),
        (["1", ""], ""),
        (["1", "-1"], ""),
        (["NaN"], ""),
        (["Infinity"], ""),
        (["1_000"], ""),
        (["1,000"], ""),
        (["\u0663"], ""),
        (["1e999999999"], ""),
        (["1e99", "1e-99"], ""),
        (["9" * 200], ""),
        ([" 1"], ""),
        (["1\n"], ""),
    ],
)
def test_amounts_are_added_exactly_or_not_at_all(amounts: list[str], total: str) -> None:
    assert total_amount(amounts) == total


def test_orders_that_are_not_kept_are_counted(officer: Client, kraken: Exchange) -> None:
    store(kraken, (order(number) for number in range(1, 101)), total=1_501)
    text = page(officer, kraken)
    assert "1,501 open orders" in section(text, "exchange-orders")
    assert "100 are listed, and 1,401 more are not" in section(text, "exchange-orders")
    assert "of the 100 orders listed below" in section(text, "exchange-groups")
    assert "of the 100 listed below" in section(text, "exchange-now")


def test_orders_that_name_no_exchange_are_said(officer: Client, kraken: Exchange) -> None:
    factories.change(store(kraken, [order()], total=3), unnamed=2)
    text = section(page(officer, kraken), "exchange-orders")
    assert "2 orders of the EMS's list do not name an exchange, and are counted here." in text
    assert "1 is listed, and 2 more are not" in text


def test_orders_that_are_older_than_the_figure_say_so(officer: Client, kraken: Exchange) -> None:
    store(kraken, [order()])
    assert "A newer figure has been read." not in page(officer, kraken)
    factories.change(kraken, open_orders=0, seen_at=datetime.now(UTC) + timedelta(seconds=1))
    assert "A newer figure has been read." in page(officer, kraken)
    factories.change(kraken, orders_read_at=kraken.seen_at)
    assert "A newer figure has been read." not in page(officer, kraken)


def test_what_is_not_known_is_said(officer: Client) -> None:
    unknown = factories.exchange("NEW", orders=None)
    assert "Not known yet" in page(officer, unknown)
    misspelled = factories.exchange("KRAKNE", orders=0)
    assert "Never listed" in page(officer, misspelled)
    unread = factories.exchange("EARLY", orders=4)
    assert "The orders themselves have not been read yet." in page(officer, unread)
    Observation.objects.update(error="HTTP 500")
    assert "Open orders cannot be read from the EMS: HTTP 500" in page(officer, unread)


def test_a_disabled_exchange_has_its_page(officer: Client) -> None:
    old = factories.exchange("OLD-VENUE", orders=5, enabled=False)
    text = page(officer, old)
    assert "Disabled here: orders on this exchange cannot be cancelled" in text
    assert "5 open orders" in text
    assert "cancel-all" not in text


def test_the_newest_requests_are_shown_with_a_link_to_all(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    factories.press(olga, factories.exchange("OTHER"))
    made = [factories.press(olga, kraken).requests.get() for _ in range(MAX_REQUESTS)]
    shown = section(page(officer, kraken), "exchange-requests")
    assert shown.count("data-request-id") == MAX_REQUESTS
    assert "show all" not in shown
    made.append(factories.press(olga, kraken).requests.get())
    shown = section(page(officer, kraken), "exchange-requests")
    assert re.findall(r'data-request-id="([^"]+)"', shown) == [
        str(request.uuid) for request in made[:0:-1]
    ]
    assert f'href="/requests/?exchange={kraken.pk}"' in shown
    assert "Newest 20; show all" in shown


def test_the_list_of_requests_can_be_that_of_one_exchange(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    other = factories.exchange("OTHER")
    mine = [factories.press(olga, kraken) for _ in range(52)]
    factories.press(olga, other)
    text = html(officer.get(f"/requests/?exchange={kraken.pk}"))
    assert text.count("data-request-id") == 50
    older = html(officer.get(f"/requests/?exchange={kraken.pk}&before={mine[2].pk}"))
    assert older.count("data-request-id") == 2
    assert f'href="?exchange={kraken.pk}&before={mine[2].pk}"' in text.replace("&amp;", "&")
    known = current()
    new = factories.press(olga, kraken)
    factories.press(olga, other)
    answer = poll(officer, f"requests:newest:::exchange={kraken.pk}", known=known)
    assert html(answer).count("data-into") == 1
    assert f'id="c{new.pk}" data-into' in html(answer)
    known = current()
    mine[0].requests.update(revision=next_revision())
    answer = poll(officer, f"requests:{mine[2].pk}:::exchange={kraken.pk}", known=known)
    assert ids(answer) == [f"c{mine[0].pk}", "known"]


def test_orders_that_are_open_again_are_said_of_the_newest_request(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    for _ in range(2):
        factories.bring(factories.press(olga, kraken).requests.get(), Status.CONFIRMED)
    kraken.refresh_from_db()
    factories.change(kraken, open_orders=5)
    assert page(officer, kraken).count("new orders since") == 1


def test_an_active_hold_is_shown_with_its_sentence(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    assert "Not held." in page(officer, kraken)
    held = hold(kraken, olga, blind_since=datetime.now(UTC), read_error="HTTP 500")
    shown = section(page(officer, kraken), f"hold-{held.pk}")
    assert "Olga Ray" in shown
    assert "Runaway algorithm" in shown
    assert "Blind since" in shown
    assert "HTTP 500" in shown
    assert "It does not block new orders, and cannot stop one that fills at once." in shown


def test_holds_and_episodes_are_never_silently_cut(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    for _ in range(MAX_HOLDS + 2):
        hold(kraken, olga, released_by="Carl Ito (carl)")
    held = hold(kraken, olga)
    episodes(held, olga, MAX_EPISODES + 3)
    shown = section(page(officer, kraken), "exchange-holds")
    numbers = [int(number) for number in re.findall(r"Episode (\d+)", shown)]
    assert numbers == list(range(MAX_EPISODES + 3, 3, -1))
    assert "and 3 more episodes" in shown
    assert "3 earlier Holds are in the audit log" in shown
    assert shown.count("released by Carl Ito") == MAX_HOLDS - 1


def test_the_page_takes_as_many_queries_with_a_long_history(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    store(kraken, [order()])
    episodes(hold(kraken, olga, released_by="Carl Ito (carl)"), olga, 1)
    with CaptureQueriesContext(connection) as few:
        page(officer, kraken)
    for _ in range(5):
        episodes(hold(kraken, olga, released_by="Carl Ito (carl)"), olga, 4)
    with CaptureQueriesContext(connection) as many:
        page(officer, kraken)
    # Session, user, revision, observation, alarms, held exchanges, queries to the user, runbook,
    # manual commands; exchange, requests, holds, episodes, counts.
    assert len(many) == len(few) <= 14


def test_foreign_words_do_not_become_markup(officer: Client, olga: User) -> None:
    nasty = "<script>alert(1)</script>\x1b"
    exchange = factories.exchange("X<script>", name=nasty, orders=2)
    names = ("symbol", "side", "price", "amount_open", "status", "client_order_id")
    store(exchange, [order() | dict.fromkeys(names, nasty)])
    episodes(hold(exchange, olga, read_error=nasty, blind_since=datetime.now(UTC)), olga, 1)
    Episode.objects.update(symbols=[nasty, "A&B"])
    Observation.objects.update(error=nasty)
    text = page(officer, exchange)
    assert "<script>alert" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text
    assert "alert(1)&lt;/script&gt;␛, A&amp;B" in text


def test_the_page_carries_no_inline_style_or_script(officer: Client, kraken: Exchange) -> None:
    store(kraken, [order()])
    sample(kraken, minutes_ago=3, lowest=0, highest=7)
    text = page(officer, kraken)
    assert "<rect" in text
    assert not re.search(r"<style|\sstyle=|<script(?![^>]+src=)|\son\w+=|javascript:", text)


def sample(exchange: Exchange, *, minutes_ago: int, lowest: int, highest: int) -> None:
    minute = datetime.now(UTC).replace(second=0, microsecond=0) - MINUTE * minutes_ago
    OpenOrderSample.objects.create(
        configured_exchange=exchange, minute=minute, lowest=lowest, highest=highest
    )


def test_the_chart_shows_gaps_and_joins_what_is_alike(kraken: Exchange) -> None:
    other = factories.exchange("OTHER")
    counts = {359: (9, 9), 10: (4, 4), 9: (4, 4), 8: (0, 8), 5: (2, 2), 1: (2, 2)}
    OpenOrderSample.objects.bulk_create(
        OpenOrderSample(
            configured_exchange=kraken,
            minute=NOON - MINUTE * ago,
            lowest=lowest,
            highest=highest,
        )
        for ago, (lowest, highest) in ({361: (99, 99), 0: (99, 99)} | counts).items()
    )
    OpenOrderSample.objects.create(
        configured_exchange=other, minute=NOON - 7 * MINUTE, lowest=50, highest=50
    )
    chart = OpenOrderChart.of(kraken, hours=6, now=NOON + timedelta(seconds=40))
    assert (chart.start, chart.end) == (NOON - timedelta(hours=6), NOON)
    assert [(span.width, span.lowest, span.highest) for span in chart.spans] == [
        (1, None, None),
        (1, 9, 9),
        (348, None, None),
        (2, 4, 4),
        (1, 0, 8),
        (2, None, None),
        (1, 2, 2),
        (3, None, None),
        (1, 2, 2),
    ]
    assert sum(span.width for span in chart.spans) == chart.width == 360
    assert [span.x for span in chart.spans] == [0, 1, 2, 350, 352, 353, 355, 356, 359]
    assert (chart.lowest, chart.highest, chart.minutes_without_read) == (0, 9, 354)
    for span in chart.spans:
        top, height = float(span.top), float(span.height)
        assert top >= 0
        assert top + height <= 100.1
        assert float(span.floor_top) + float(span.floor) == 100


def test_a_minute_that_is_being_written_is_no_gap(kraken: Exchange) -> None:
    OpenOrderSample.objects.create(
        configured_exchange=kraken, minute=NOON - 2 * MINUTE, lowest=2, highest=2
    )
    for seconds, end in ((3, NOON - MINUTE), (40, NOON)):
        chart = OpenOrderChart.of(kraken, hours=6, now=NOON + timedelta(seconds=seconds))
        assert chart.end == end
        assert (chart.spans[-1].lowest is None) == (end == NOON)


def test_a_chart_without_counts_says_so(officer: Client, kraken: Exchange) -> None:
    assert "No list was read for this exchange in these hours." in page(officer, kraken)


def test_the_same_numbers_are_in_a_table(officer: Client, kraken: Exchange) -> None:
    sample(kraken, minutes_ago=3, lowest=1_000, highest=2_040)
    text = section(page(officer, kraken), f"chart-{kraken.pk}")
    assert "From 1,000 to 2,040" in text
    assert "No list was read in 359 minutes." in text
    rows = re.findall(r"<tr>.*?</tr>", text, re.S)
    assert sum("1,000" in row and "2,040" in row for row in rows) == 1
    assert sum("not read" in row for row in rows) == 2
    assert "for 24 hours" in text


def test_an_idle_page_gets_nothing(officer: Client, kraken: Exchange) -> None:
    name = OpenOrderChart.of(kraken, hours=6).name
    with CaptureQueriesContext(connection) as queries:
        answer = poll(officer, f"exchange:{kraken.pk}", name)
    assert answer.status_code == 204
    assert len(queries) - 1 <= 5  # as the console's own, and one around the turn of a minute


@pytest.mark.parametrize("change", ["figure", "orders", "request", "hold", "error"])
def test_a_change_of_the_exchange_renders_its_part(
    officer: Client, olga: User, kraken: Exchange, change: str
) -> None:
    other = factories.exchange("OTHER")
    orders, held = store(kraken, [order()]), hold(kraken, olga)
    request = factories.press(olga, kraken).requests.get()
    known = current()
    match change:
        case "figure":
            factories.change(kraken, open_orders=9)
        case "orders":
            factories.change(orders, total=7)
        case "request":
            factories.bring(request, Status.SENDING)
        case "hold":
            factories.change(held, episode_count=1)
        case "error":
            Observation.objects.update(error="HTTP 500", revision=next_revision())
    names = (f"exchange:{kraken.pk}",)
    header = ["held"] if change == "hold" else []
    assert ids(poll(officer, *names, known=known)) == [*header, f"exchange-{kraken.pk}", "known"]
    expected = [f"exchange-{other.pk}", "known"] if change == "error" else ["known"]
    assert ids(poll(officer, f"exchange:{other.pk}", known=known)) == [*header, *expected]


def test_a_new_minute_renders_the_chart_alone(officer: Client, kraken: Exchange) -> None:
    end = datetime.now(UTC).replace(second=0, microsecond=0) - MINUTE
    name = f"chart:{kraken.pk}:6:{round(end.timestamp())}"
    assert poll(officer, name).status_code == 204
    sample(kraken, minutes_ago=1, lowest=2, highest=2)
    answer = poll(officer, name)
    assert ids(answer) == [f"chart-{kraken.pk}", "known"]
    assert OpenOrderChart.of(kraken, hours=6).name in html(answer)


@pytest.mark.parametrize(
    "name",
    [
        "chart:",
        "chart:x:6:0",
        "chart:1:7:0",
        f"chart:1:6:{2**62}",
        "chart:1",
        "chart:999999:6:0",
        "exchange:",
        "exchange:x",
        f"exchange:{10**40}",
    ],
)
def test_a_part_that_does_not_exist_is_left_out(officer: Client, olga: User, name: str) -> None:
    factories.press(olga, factories.exchange("OTHER"))
    Alarm.objects.all().delete()
    assert ids(poll(officer, name, known=-1)) == ["known"]


def test_rows_and_pages_link_to_the_page_of_the_exchange(
    officer: Client, olga: User, kraken: Exchange
) -> None:
    batch = factories.press(olga, kraken)
    request = batch.requests.get()
    for path in ("/", "/requests/", f"/requests/{request.uuid}/", f"/batches/{batch.uuid}/"):
        text = html(officer.get(path))
        assert f'href="/exchanges/{kraken.pk}/"' in text, path
        if path != f"/requests/{request.uuid}/":
            assert f'href="/requests/{request.uuid}/"' in text, path
