"""What a status says, and which open orders it does not account for."""

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.cancels.conclusion import NEVER_LISTED_TEXTS
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import FINAL, IN_FLIGHT, Status
from killswitch.cancels.status_display import orders_since, status_badge
from killswitch.cancels.view_models import summary
from tests import factories
from tests.console.press_helpers import EVERYWHERE, question
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

# What each final status leaves of five orders, as the factories make it.
LEFT = {
    Status.CONFIRMED: 0,
    Status.RESIDUAL: 3,
    Status.REJECTED: 3,
    # The list could not be read, so no more than the orders before are accounted for.
    Status.UNVERIFIED: 5,
    Status.UNKNOWN: 5,
    Status.NOT_DELIVERED: 5,
}


@pytest.mark.parametrize("status", sorted(FINAL))
def test_orders_above_what_a_final_status_left_are_new_since(olga: User, status: Status) -> None:
    exchange = factories.exchange("KRAKEN", orders=5)
    request = factories.bring(factories.press(olga, exchange).requests.get(), status)
    exchange.refresh_from_db()
    assert orders_since(request, exchange) == 0
    factories.change(exchange, open_orders=LEFT[status])
    assert orders_since(request, exchange) == 0
    factories.change(exchange, open_orders=LEFT[status] + 11)
    assert orders_since(request, exchange) == 11
    factories.change(exchange, open_orders=None)
    assert orders_since(request, exchange) == 0


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
def test_a_request_in_flight_has_left_nothing_yet(olga: User, status: Status) -> None:
    exchange = factories.exchange("KRAKEN", orders=5)
    request = factories.bring(factories.press(olga, exchange).requests.get(), status)
    factories.change(exchange, open_orders=20)
    assert orders_since(request, exchange) == 0


def test_a_figure_from_before_the_end_and_an_unknown_start_prove_no_new_orders(olga: User) -> None:
    exchange = factories.exchange("KRAKEN", orders=None)
    request = factories.press(olga, exchange).requests.get()
    factories.change(exchange, open_orders=9)
    factories.bring(request, Status.UNKNOWN)
    assert orders_since(request, exchange) == 0
    factories.change(exchange, open_orders=12)
    assert orders_since(request, exchange) == 0


@pytest.mark.parametrize(
    ("orders", "first_listed", "is_never_listed"),
    [(0, False, True), (None, False, True), (0, True, False), (4, True, False), (4, False, False)],
)
def test_an_exchange_is_never_listed_until_the_ems_has_listed_an_order(
    orders: int | None, first_listed: bool, is_never_listed: bool
) -> None:
    first_listed_at = factories.observe() if first_listed else None
    exchange = factories.exchange("KRAKEN", orders=orders, first_listed_at=first_listed_at)
    assert exchange.is_never_listed == is_never_listed


@pytest.mark.parametrize("text", NEVER_LISTED_TEXTS)
def test_confirmed_on_an_id_that_was_never_listed_is_not_plainly_confirmed(
    officer: Client, olga: User, text: str
) -> None:
    """The second text is in the conclusions of earlier versions."""
    batch = factories.press(olga, factories.exchange("okex"), factories.exchange("OK", orders=1))
    never, listed = batch.requests.order_by("exchange_id").reverse()
    for request in (never, listed):
        factories.bring(request, Status.CONFIRMED)
    CancelRequest.objects.filter(pk=never.pk).update(conclusion=f"As far as is known, {text} okex.")
    never.refresh_from_db()
    assert status_badge(never).words == "None open, but never listed by the EMS"
    assert status_badge(never).tone != status_badge(listed).tone == "good"
    assert summary([never, listed]) == "1 of 2 confirmed, 1 never listed by the EMS"
    # It stays true after the EMS has listed an order of it.
    factories.change(never.configured_exchange, first_listed_at=factories.observe())
    for path in (f"/requests/{never.uuid}/", f"/batches/{batch.uuid}/", "/requests/"):
        assert "None open, but never listed by the EMS" in html(officer.get(path))
    assert not never.needs_attention


def test_other_outcomes_on_an_id_that_was_never_listed_keep_their_words(olga: User) -> None:
    request = factories.press(olga, factories.exchange("okex")).requests.get()
    factories.bring(request, Status.REJECTED)
    request.conclusion += NEVER_LISTED_TEXTS[0]
    assert not request.is_never_listed


def test_the_question_warns_of_an_id_that_was_never_listed(officer: Client) -> None:
    okex = factories.exchange("okex")
    factories.exchange("KRAKEN", orders=3)
    says = "Never listed by the EMS:</b> <code>okex</code> Check how the EMS spells this ID"
    for path in (f"/exchanges/{okex.pk}/cancel-all/", EVERYWHERE):
        assert says in question(officer, path)
    for number in range(9):
        factories.exchange(f"okex{number}")
    assert "and 2 more." in question(officer, EVERYWHERE)
