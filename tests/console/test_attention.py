"""What needs a person is gathered in one block, and a group of exchanges has one button."""

import re

import pytest
from django.db import transaction
from django.test import Client

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.recorder import recording
from killswitch.cancels.request_alarms import raise_stalled_alarm
from killswitch.cancels.states import FINAL, Status
from killswitch.console import grid
from killswitch.console.attention import Attention
from killswitch.exchanges.models import Exchange, ExchangeGroup
from killswitch.runtime.revisions import current
from tests import factories
from tests.console.test_console import console, row
from tests.console.test_poll import poll
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def block(page: str) -> str:
    match = re.search(r'<section id="attention".*?</section>', page, re.S)
    assert match, page
    return match[0]


def attention() -> Attention:
    return Attention(grid.rows(observed_at=None))


def stall(exchange: Exchange, olga: User) -> None:
    request = factories.bring(factories.press(olga, exchange).requests.get(), Status.SENDING)
    with recording():
        raise_stalled_alarm(request, title="stuck for 5 s", instruction="Open it.")


def test_failures_are_in_the_order_in_which_they_came(officer: Client, olga: User) -> None:
    made = factories.exchanges(5)
    for exchange, status in zip(
        (made[4], made[1], made[3], made[0]),
        (Status.REJECTED, Status.UNKNOWN, Status.CONFIRMED, Status.SENDING),
        strict=True,
    ):
        factories.bring(factories.press(olga, exchange).requests.get(), status)
    shown = block(console(officer))
    assert re.findall(r"<b>(VENUE\d\d)</b>", shown) == ["VENUE05", "VENUE02", "VENUE01"]
    assert re.findall(r'data-status="(\w+)"', shown) == ["REJECTED", "UNKNOWN", "SENDING"]
    assert shown.count("data-request-id=") == 3
    assert re.findall(r'class="fig">\s*(\S+)', shown) == ["3", "14", "7"], "as last known"
    assert "Not confirmed: 2" in shown
    assert "Running: 1" in shown
    assert "An earlier cancel" not in shown
    factories.change(made[4].requests.get())
    assert re.findall(r"<b>(VENUE\d\d)</b>", block(console(officer)))[0] == "VENUE05"


def test_of_very_many_failures_the_first_are_shown_and_the_rest_is_counted(
    officer: Client, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("killswitch.console.attention.MAX_SHOWN", 2)
    for exchange in factories.exchanges(5):
        factories.bring(factories.press(olga, exchange).requests.get(), Status.REJECTED)
    shown = block(console(officer))
    assert re.findall(r"<b>(VENUE\d\d)</b>", shown) == ["VENUE01", "VENUE02"]
    assert "Not confirmed: 5" in shown
    assert "3 more in the table" in shown
    assert re.search(r"Retry 5\b", shown)


def test_all_that_failed_can_be_retried_through_the_ordinary_question(
    officer: Client, compliance: Client, olga: User
) -> None:
    made = factories.exchanges(4)
    for exchange in made[:3]:
        factories.bring(factories.press(olga, exchange).requests.get(), Status.REJECTED)
    factories.change(made[2], enabled=False)
    holding.start(olga, made[2])  # so it keeps its row, and no cancel reaches it
    shown = block(console(officer))
    assert "Not confirmed: 3" in shown
    path = f"/cancel-all/?exchange={made[0].pk}&amp;exchange={made[1].pk}"
    assert f'href="{path}"' in shown
    assert "Retry 2" in shown
    question = html(officer.get(path.replace("&amp;", "&")))
    assert "on 2 exchanges" in question
    assert "Retry" not in block(console(compliance))


def test_a_stuck_request_needs_attention_until_its_alarm_is_acknowledged(
    officer: Client, olga: User
) -> None:
    one, _ = factories.exchanges(2)
    stall_known = current()
    stall(one, olga)
    page = console(officer)
    assert "1 needs attention" in page
    assert 'class="attn bad"' in row(page, one)
    assert "· stuck" in row(page, one)
    assert "Stuck: no progress" in block(page)
    assert "· stuck" in row(html(poll(officer, "console", known=stall_known)), one)
    known = current()
    officer.post(f"/alarms/{Alarm.objects.get(kind=AlarmKind.STALLED).pk}/acknowledge/")
    shown = html(poll(officer, "console", known=known))
    assert 'class="busy"' in row(shown, one), "the row follows though its request has not changed"
    assert "Running: 1" in block(shown)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_orders_that_are_new_since_any_outcome_need_attention(
    officer: Client, olga: User, status: Status
) -> None:
    exchange = factories.exchange("KRAKEN", orders=3)
    factories.bring(factories.press(olga, exchange).requests.get(), status)
    exchange.refresh_from_db()
    before = (exchange.open_orders or 0) + 1
    factories.change(exchange, open_orders=before + 3)
    page = console(officer)
    assert "since</b>" in row(page, exchange)
    assert "1 needs attention" in page
    assert ("New orders: 1" in block(page)) == (status is Status.CONFIRMED)


def test_a_blind_hold_is_among_the_failures(officer: Client, olga: User) -> None:
    one, _ = factories.exchanges(2)
    factories.bring(factories.press(olga, one).requests.get(), Status.CONFIRMED)
    holding.start(olga, one, blind_since=factories.observe())
    assert "Hold blind" in block(console(officer))
    assert attention().failed_count == 1


def test_a_calm_console_says_that_there_is_nothing(officer: Client) -> None:
    factories.exchanges(2)
    shown = block(console(officer))
    assert "No failed cancels, none running." in shown
    assert ": 0" not in shown
    assert "Retry" not in shown


def test_the_block_says_so_when_it_cannot_show_every_failure(officer: Client, olga: User) -> None:
    for number in range(32):
        exchange = factories.exchange(f"VENUE{number}", orders=1)
        factories.bring(factories.press(olga, exchange).requests.get(), Status.REJECTED)
    assert "longer" not in block(console(officer))
    long = factories.exchange("BITFINEX/LIST-UNREADABLE", orders=1)
    factories.bring(factories.press(olga, long).requests.get(), Status.REJECTED)
    shown = block(console(officer))
    assert 'class="failed longer"' in shown
    assert f'id="a{long.pk}" class="long"' in shown


def group(name: str, *exchanges: Exchange) -> ExchangeGroup:
    row = ExchangeGroup(name=name)
    with transaction.atomic():
        factories.change(row)
        row.exchanges.set(exchanges)
    return row


def test_a_group_has_one_button_with_its_sum(
    officer: Client, compliance: Client, olga: User
) -> None:
    made = factories.exchanges(4)
    factories.change(made[3], enabled=False)
    holding.start(olga, made[3])  # so it keeps its row
    desk = group("Desk A", *made[1:])
    empty = group("Nothing enabled", made[3])
    page = console(officer)
    assert f'href="/cancel-all/?group={desk.pk}"' in page
    assert f"group={empty.pk}" not in page
    assert "2 exchanges, 35 orders" in page
    assert f'data-group="x{made[1].pk} x{made[2].pk} "' in page
    assert "?group=" not in console(compliance)
    known = current()
    factories.change(made[1], open_orders=None, seen_at=None)
    assert "at least 21 orders" in html(poll(officer, "console", known=known))
    known = current()
    group("Desk B", made[0])
    assert "Desk B" in html(poll(officer, "console", known=known))


def test_rows_can_be_selected_without_scripts(officer: Client, olga: User) -> None:
    made = factories.exchanges(3)
    off = factories.exchange("OFF", orders=1, enabled=False)
    holding.start(olga, off)
    page = console(officer)
    assert '<form id="selection"' in page
    assert page.count('name="exchange"') == 3, "a disabled one cannot be selected"
    for exchange in made:
        assert f'value="{exchange.pk}" form="selection"' in row(page, exchange)
    answer = officer.get("/cancel-all/", {"exchange": [made[0].pk, made[2].pk]})
    assert "on 2 exchanges" in html(answer)


def test_failures_of_one_cancel_are_retried_as_that_cancel(officer: Client, olga: User) -> None:
    made = factories.exchanges(3)
    batch = factories.press(olga, *made[:2])
    for request in batch.requests.order_by("id"):
        factories.bring(request, Status.UNKNOWN)
    retry = f"exchange={made[0].pk}&amp;exchange={made[1].pk}&amp;retry_of={batch.uuid}"
    assert retry in block(console(officer))
    factories.bring(factories.press(olga, made[2]).requests.get(), Status.REJECTED)
    assert "retry_of" not in block(console(officer)), "they belong to two cancels"
