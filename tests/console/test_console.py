"""The console: every exchange with its figures, its outcome, and what is not known."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording
from killswitch.cancels import services
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.request_alarms import raise_stalled_alarm
from killswitch.cancels.states import FINAL, Status
from killswitch.console import context_processors, grid
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from tests import factories
from tests.browser import scenes
from tests.holds import holding
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def console(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return html(answer)


def row(page: str, exchange: Exchange) -> str:
    found = re.search(rf'<tr id="x{exchange.pk}".*?</tr>', page, re.S)
    assert found, page
    return found[0]


def test_a_row_carries_its_exchange_id_and_its_button(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN/JOHN", name="Kraken, John", orders=14)
    shown = row(console(officer), exchange)
    assert 'data-exchange-id="KRAKEN/JOHN"' in shown
    assert f'href="/exchanges/{exchange.pk}/cancel-all/"' in shown
    assert "<b>14</b>" in shown
    assert "No cancel yet" in shown


@pytest.mark.parametrize("status", Status)
def test_every_status_has_its_badge_on_one_element(
    officer: Client, olga: User, status: Status
) -> None:
    exchange = factories.exchange("KRAKEN", orders=3)
    request = factories.bring(factories.press(olga, exchange).requests.get(), status)
    shown = row(console(officer), exchange)
    assert f'data-request-id="{request.uuid}" data-status="{status}"' in shown
    assert ("attn" in shown) == (status in FINAL - {Status.CONFIRMED})
    assert ('class="busy"' in shown) == (status not in FINAL)


def test_every_status_has_an_icon_of_its_own(officer: Client, olga: User) -> None:
    scenes.console(olga)
    marks = re.findall(r'data-status="(\w+)"> ?<i class="i-(\w+)"', console(officer))
    assert len(dict(marks)) == len(Status)
    assert len({mark for _, mark in marks}) == len(Status)


def test_rows_that_need_attention_come_first_then_what_is_in_flight(
    officer: Client, olga: User
) -> None:
    made = factories.exchanges(5)
    factories.bring(factories.press(olga, made[4]).requests.get(), Status.REJECTED)
    factories.bring(factories.press(olga, made[2]).requests.get(), Status.SENDING)
    shown = re.findall(r'data-exchange-id="(\w+)"', console(officer))
    assert shown == ["VENUE05", "VENUE03", "VENUE01", "VENUE02", "VENUE04"]


def test_a_request_after_which_orders_were_open_again_comes_first_and_says_so(
    officer: Client, olga: User
) -> None:
    made = factories.exchanges(4)
    requests = [factories.press(olga, exchange).requests.get() for exchange in made]
    for request in requests:
        factories.bring(request, Status.CONFIRMED)
    factories.look_again(requests[0], after_s=5)
    factories.look_again(requests[2], after_s=12, orders=3)
    factories.change(made[2], open_orders=4)
    page = console(officer)
    assert re.findall(r'data-exchange-id="(\w+)"', page)[0] == "VENUE03"
    shown = row(page, made[2])
    assert 'class="attn warn"' in shown
    assert "3 orders open again after 12 s" in shown
    assert 'data-status="CONFIRMED"' in shown
    assert "1 needs attention" in page
    poll = html(officer.get(f"/poll/?known={requests[2].revision - 1}&show=console"))
    assert "3 orders open again after 12 s" in poll


def test_a_second_request_in_flight_is_seen_behind_a_newer_one(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    factories.bring(factories.press(olga, exchange).requests.get(), Status.SENDING)
    factories.bring(factories.press(olga, exchange).requests.get(), Status.CONFIRMED)
    assert 'class="busy"' in row(console(officer), exchange)


def test_an_exchange_that_was_never_listed_is_not_zero_orders(officer: Client) -> None:
    factories.exchange("KRAKNE", orders=0)
    factories.exchange("KRAKEN", orders=0, first_listed_at=factories.observe())
    page = html(officer.get("/"))
    assert page.count("never listed by the EMS") == 1
    assert "never listed by the EMS" in row(page, Exchange.objects.get(exchange_id="KRAKNE"))


def test_orders_that_appear_after_a_confirmed_cancel_are_called_new(
    officer: Client, olga: User
) -> None:
    exchange = factories.exchange("KRAKEN", orders=0)
    factories.bring(factories.press(olga, exchange).requests.get(), Status.CONFIRMED)
    assert "new orders since" not in row(console(officer), exchange)
    factories.change(exchange, open_orders=4)
    assert "new orders since" in row(console(officer), exchange)


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(), timedelta(hours=1)])
def test_orders_that_are_open_again_are_told_by_revisions_and_not_by_clocks(
    officer: Client, olga: User, skew: timedelta
) -> None:
    """The observer's host and the worker's may have different clocks."""
    exchange = factories.exchange("KRAKEN", orders=0)
    request = factories.press(olga, exchange).requests.get()
    factories.bring(request, Status.CONFIRMED)
    # A figure of before that the request could not replace.
    Exchange.objects.update(open_orders=4, seen_at=datetime.now(UTC) + skew, revision=1)
    assert "new orders since" not in row(console(officer), exchange)
    exchange.refresh_from_db()
    factories.change(exchange, open_orders=5)
    assert "new orders since" in row(console(officer), exchange)
    # A reason that is added later does not hide it.
    services.complete_reason(batch=request.batch, user=olga, reason="Drill")
    assert "new orders since" in row(console(officer), exchange)
    # Nor does an outcome from before this column existed show less.
    CancelRequest.objects.update(finished_revision=None, revision=1)
    assert "new orders since" in row(console(officer), exchange)


def test_a_figure_that_the_newest_observation_lacks_keeps_its_own_age(officer: Client) -> None:
    old = factories.exchange("OLD", orders=4)
    old.seen_at = datetime.now(UTC) - timedelta(minutes=2)
    old.save()
    new = factories.exchange("NEW", orders=4)
    page = console(officer)
    assert "datetime=" in row(page, old)
    assert "datetime=" not in row(page, new)


@pytest.mark.parametrize("count", [1, 10])
def test_exchanges_that_are_not_set_up_are_folded_into_one_line_below_the_rows(
    officer: Client, count: int
) -> None:
    factories.exchange("KRAKEN")
    for number in range(count):
        UncoveredExchange.objects.create(exchange_id=f"OKEX/{number}", open_orders=1200)
    page = console(officer)
    folded = page.index('id="uncovered"')
    assert page.index('data-exchange-id="KRAKEN"') < folded
    exchanges = "1 exchange" if count == 1 else "10 exchanges"
    assert f"{exchanges} not enabled here" in page[folded:]
    assert f"{1200 * count:,} open orders" in page[folded:]
    assert page[folded:].count('id="uncovered-') == count
    if count == 1:
        assert "Not included: OKEX/0 (1,200 open)." in page
    else:
        assert "10 exchanges not enabled here</a> (12,000 open)." in page


def test_the_limits_of_a_cancel_are_named_in_the_row(officer: Client) -> None:
    limited = factories.exchange("KRAKEN", caveat=factories.CAVEAT)
    other = factories.exchange("GEMINI")
    page = console(officer)
    assert factories.CAVEAT in row(page, limited)
    assert "limits" not in row(page, other)


def test_disabled_exchanges_are_not_shown(officer: Client) -> None:
    factories.exchange("OFF", enabled=False)
    assert 'data-exchange-id="OFF"' not in console(officer)
    page = console(officer)
    assert "No exchange is enabled" in page
    assert "cut-all" not in page, "there is nothing to cancel"


def test_the_panel_shows_what_cannot_be_read(officer: Client) -> None:
    factories.exchange("KRAKEN", orders=None)
    factories.exchange("GEMINI", orders=6)
    Observation.objects.update(error="HTTP 500")
    page = console(officer)
    assert "At least 6 open orders on 2 exchanges" in page
    assert "Open orders cannot be read from the EMS: HTTP 500" in page
    assert "New orders are not blocked." in page


def test_foreign_words_do_not_become_markup(officer: Client, olga: User) -> None:
    nasty = "<script>alert(1)</script>"
    exchange = factories.exchange(nasty, name=nasty, caveat=nasty)
    request = factories.press(olga, exchange, reason=nasty).requests.get()
    rejection = factories.REJECTION | {"reject_reason": nasty, "message": nasty}
    factories.bring(request, Status.REJECTED, rejection=rejection)
    for path in (
        "/",
        "/requests/",
        f"/requests/{request.uuid}/",
        f"/exchanges/{exchange.pk}/cancel-all/",
    ):
        page = html(officer.get(path))
        assert nasty not in page
        assert "&lt;script&gt;" in page


def test_alarms_stay_until_they_are_acknowledged(officer: Client, olga: User) -> None:
    exchange = factories.exchange("KRAKEN")
    factories.bring(factories.press(olga, exchange).requests.get(), Status.RESIDUAL)
    assert "KRAKEN: 3 orders are still open." in console(officer)
    assert "<title>(1) " in console(officer)
    alarm = Alarm.objects.get()
    assert f'formaction="/alarms/{alarm.pk}/acknowledge/"' in console(officer)
    officer.post(f"/alarms/{alarm.pk}/acknowledge/")
    assert "still open.</strong>" not in console(officer)


def test_the_line_counts_by_severity_and_names_the_worst(officer: Client, olga: User) -> None:
    for number in range(3):
        batch = factories.press(olga, factories.exchange(f"E{number}"))
        factories.bring(batch.requests.get(), Status.UNKNOWN)
    with recording():
        raise_alarm(kind=AlarmKind.PEOPLE, subject="7 1", title="Ivan Poe was added.")
    page = console(officer)
    assert '3 kill alarms<span class="others">, 1 other</span>' in page
    assert "· E2: outcome unknown" in page
    assert "Ivan Poe was added" not in page.partition("alarm-text")[2].partition("</a>")[0]
    assert 'data-count="4" data-kill="3"' in page
    Alarm.objects.exclude(kind=AlarmKind.PEOPLE).update(
        acknowledged_at=datetime.now(UTC), acknowledged_by="Olga"
    )
    page = console(officer)
    assert "1 alarm</strong>" in page
    assert 'data-kill="0"' in page


def test_more_alarms_than_are_read_for_the_line_are_all_counted(
    officer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_processors, "MAX_ALARMS_READ", 3)
    with recording():
        for number in range(5):
            raise_alarm(kind=AlarmKind.OUTCOME, subject=str(number), title=f"r-{number}")
        raise_alarm(kind=AlarmKind.PEOPLE, subject="7 1", title="Newest")
    page = console(officer)
    assert '5 kill alarms<span class="others">, 1 other</span>' in page
    assert 'data-newest-title="Newest"' in page


def test_a_stuck_exchange_needs_attention_until_that_is_resolved_or_acknowledged(
    olga: User,
) -> None:
    request = factories.press(olga, factories.exchange("KRAKEN")).requests.get()
    factories.bring(request, Status.SENDING)
    (row,) = grid.rows(observed_at=None)
    assert not row.needs_attention
    with recording():
        raise_stalled_alarm(request, title="stuck", instruction="Open it.")
    (row,) = grid.rows(observed_at=None)
    assert (row.needs_attention, row.tone) == (True, "bad")
    Alarm.objects.update(resolved_at=datetime.now(UTC), resolution="x")
    (row,) = grid.rows(observed_at=None)
    assert not row.needs_attention


def test_compliance_sees_everything_and_no_button(compliance: Client, olga: User) -> None:
    scenes.console(olga)
    page = console(compliance)
    assert "data-exchange-id" in page
    assert "cancel-all" not in page
    assert "formaction" not in page
    assert 'class="kill"' not in page, "no panel around a button that is not there"
    assert 'type="checkbox" name="exchange"' not in page
    assert "Audit log" in page
    assert "Compliance" in page


def test_administrators_are_sent_to_their_own_pages(db: None) -> None:
    ada = Client()
    ada.force_login(factories.person(Role.ADMINISTRATOR))
    assert ada.get("/")["Location"] == "/administration/"


def test_the_console_requires_a_sign_in(db: None) -> None:
    answer = Client().get("/")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


def test_a_real_ems_is_never_called_a_demo(officer: Client, settings: object) -> None:
    assert "REAL EMS" in console(officer)
    settings.KILLSWITCH_ENVIRONMENT = "production"  # type: ignore[attr-defined]
    assert "PRODUCTION" in console(officer)
    settings.KILLSWITCH_ENVIRONMENT = "demo"  # type: ignore[attr-defined]
    assert ">DEMO<" in console(officer)


def test_sixty_rows_take_as_many_queries_as_three(officer: Client, olga: User) -> None:
    one, *_ = factories.exchanges(3)
    factories.press(olga, one)
    with CaptureQueriesContext(connection) as few:
        console(officer)
    scenes.sixty(olga)
    Alarm.objects.all().delete()
    with CaptureQueriesContext(connection) as many:
        console(officer)
    # Besides session and user: revision, observation, the grid's four, uncovered ids, disabled
    # exchanges, groups, the five of the latest cancels, alarms, the runbook.
    assert len(few) <= 18
    assert len(many) == len(few)


def test_the_grid_itself_takes_three_queries(olga: User) -> None:
    for exchange in scenes.sixty(olga)[:40]:
        holding.start(olga, exchange)
    with CaptureQueriesContext(connection) as queries:
        rows = grid.rows(observed_at=None)
    assert (len(rows), len(queries)) == (60, 3)


def test_no_page_carries_inline_style_or_script(officer: Client, olga: User) -> None:
    made = scenes.console(olga)
    batch = factories.press(olga, *made)
    request = batch.requests.first()
    assert request
    paths = [
        "/",
        "/requests/",
        f"/requests/{request.uuid}/",
        f"/batches/{batch.uuid}/",
        "/cancel-all/",
        f"/exchanges/{made[1].pk}/hold/",
        f"/exchanges/{made[0].pk}/hold/",
        f"/exchanges/{made[0].pk}/release/",
    ]
    holding.start(olga, made[0])
    for path in paths:
        page = html(officer.get(path))
        assert not re.search(
            r"<style|\sstyle=|<script(?![^>]+src=)|\son\w+=|hx-on|javascript:", page
        )
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', page)
