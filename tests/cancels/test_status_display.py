"""What a status says, and which open orders it does not account for."""

import pytest

from killswitch.accounts.models import User
from killswitch.cancels.states import FINAL, IN_FLIGHT, Status
from killswitch.cancels.status_display import orders_since
from tests import factories

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
