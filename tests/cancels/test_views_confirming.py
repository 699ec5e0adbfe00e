"""The confirmation before a kill: what it shows, and what leads back to it."""

from datetime import timedelta

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.audit.models import AuditEvent
from killswitch.cancels.confirmation import Reason
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import UncoveredExchange
from tests import factories
from tests.console.press_helpers import EVERYWHERE, HTMX, path_of, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def test_it_names_the_exchange_its_orders_their_age_and_the_caveat(officer: Client) -> None:
    exchange = factories.exchange("KRAKEN/JOHN", orders=14, caveat="Not the conditional orders.")
    page = question(officer, path_of(exchange))
    assert "Cancel all 14 open orders on KRAKEN/JOHN?" in page
    assert "Not the conditional orders." in page
    assert "Cancels resting orders only. New orders are not blocked." in page
    assert 'name="reason"' in page


def test_it_is_never_kept_by_a_cache(officer: Client) -> None:
    answer = officer.get(path_of(factories.exchange("KRAKEN")))
    assert "no-store" in answer["Cache-Control"]


def test_showing_it_does_not_record_or_send(officer: Client) -> None:
    before = AuditEvent.objects.count()
    officer.get(path_of(factories.exchange("KRAKEN")))
    officer.get(EVERYWHERE)
    assert (Batch.objects.count(), AuditEvent.objects.count()) == (0, before)


def test_it_is_a_whole_page_for_a_plain_browser_and_a_part_for_htmx(officer: Client) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    whole, part = html(officer.get(path)), html(officer.get(path, headers=HTMX))
    assert "<html" in whole
    assert "hx-post" not in whole.split("<form class=")[1]
    assert "<html" not in part
    assert "hx-post" in part


def test_all_exchanges_shows_the_sum_and_what_is_not_included(officer: Client) -> None:
    factories.exchange("KRAKEN", orders=14)
    factories.exchange("GEMINI", orders=6)
    factories.exchange("OFF", orders=100, enabled=False)
    UncoveredExchange.objects.create(exchange_id="OKEX", open_orders=12)
    page = question(officer, EVERYWHERE)
    assert "Cancel all 20 open orders on 2 exchanges?" in page
    assert "OKEX" in page
    assert "(12 open)" in page


def test_the_sum_is_as_old_as_its_oldest_figure(officer: Client) -> None:
    newest, oldest = factories.exchanges(2)
    disabled = factories.exchange("OFF", orders=1, enabled=False)
    assert newest.seen_at
    for exchange, ago_s in ((oldest, 70), (disabled, 200)):
        factories.change(exchange, seen_at=newest.seen_at - timedelta(seconds=ago_s))
    page = question(officer, EVERYWHERE)
    assert f">{oldest.seen_at:%H:%M:%S}</time>" in page[page.index("21 open orders") :]
    assert f">{newest.seen_at:%H:%M:%S}</time>" not in page[page.index("21 open orders") :]


def test_it_says_that_a_cancel_is_already_running(officer: Client, olga: User) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("GEMINI")
    factories.press(olga, one)
    factories.press(olga, one)
    already = (
        "A cancel is already running on this exchange."
        " Another one also cancels orders placed since."
    )
    assert already in question(officer, path_of(one))
    assert "A cancel is already running on 1 of these." in question(officer, EVERYWHERE)
    assert "already running" not in question(officer, path_of(two))
    for request in CancelRequest.objects.all():
        factories.bring(request, Status.CONFIRMED)
    assert "already running" not in question(officer, path_of(one))


def test_an_unknown_count_is_not_shown_as_zero(officer: Client) -> None:
    unread = factories.exchange("KRAKEN", orders=None)
    assert "The number of open orders is not known." in question(officer, path_of(unread))
    factories.exchange("GEMINI", orders=6)
    assert "open orders, at least 6, on 2 exchanges" in question(officer, EVERYWHERE)


def test_some_exchanges_are_named_and_a_disabled_one_is_said_to_be_left_out(
    officer: Client,
) -> None:
    one, two = factories.exchange("KRAKEN"), factories.exchange("OFF", enabled=False)
    page = question(officer, f"{EVERYWHERE}?exchange={one.pk}&exchange={two.pk}")
    assert "on 1 exchange?" in page
    assert "Disabled here, not cancelled:</b> <code>OFF</code>" in page


@pytest.mark.parametrize("reason", ["Drill", "Drill: of the month", "only words", "", "Odd: x"])
def test_it_comes_back_filled(officer: Client, reason: str) -> None:
    path = path_of(factories.exchange("KRAKEN"))
    page = html(officer.get(path, {"reason": reason}))
    parsed = Reason.parse(reason)
    assert str(parsed) == reason
    assert f'value="{parsed.words}"' in page
    options = page[page.index('name="reason"') :].partition("</select>")[0]
    assert ("selected" in options) == bool(parsed.picked)


@pytest.mark.parametrize("named", ["999", "x", "-1", "1e3", "99999999999999999999", "²"])
def test_an_unknown_exchange_is_not_found_and_never_means_all(officer: Client, named: str) -> None:
    factories.exchange("KRAKEN")
    assert officer.get(f"{EVERYWHERE}?exchange={named}").status_code == 404


def test_a_number_that_no_database_takes_is_not_found(officer: Client) -> None:
    answer = officer.get("/exchanges/99999999999999999999999/cancel-all/")
    assert answer.status_code == 404
    assert "This exchange does not exist here." in html(answer)


def test_a_disabled_exchange_is_said_to_be_disabled(officer: Client) -> None:
    answer = officer.get(path_of(factories.exchange("OFF", enabled=False)))
    assert answer.status_code == 409
    assert "Disabled here: OFF." in html(answer)


def test_compliance_gets_no_confirmation(compliance: Client) -> None:
    assert compliance.get(path_of(factories.exchange("KRAKEN"))).status_code == 403
    assert compliance.get(EVERYWHERE).status_code == 403
