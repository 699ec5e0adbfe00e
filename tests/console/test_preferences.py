"""The order of the rows and their height are chosen by links and remembered."""

import re

import pytest
from django.test import Client

from killswitch.accounts.models import User
from killswitch.cancels.states import Status
from tests import factories
from tests.console.test_console import console
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def shown(page: str) -> list[str]:
    return re.findall(r'data-exchange-id="([^"]+)"', page)


def test_rows_are_sorted_by_trouble_until_another_order_is_chosen(
    officer: Client, olga: User
) -> None:
    for number, (exchange_id, orders) in enumerate(
        (("beta", 5), ("ALPHA", 1), ("Gamma", None), ("delta", 9))
    ):
        factories.exchange(exchange_id, orders=orders, position=number)
    last = factories.exchange("EPSILON", orders=2, position=9)
    factories.bring(factories.press(olga, last).requests.get(), Status.REJECTED)
    assert shown(console(officer))[0] == "EPSILON"
    by_name = ["ALPHA", "beta", "delta", "EPSILON", "Gamma"]
    assert shown(html(officer.get("/?sort=name"))) == by_name
    assert shown(console(officer)) == by_name, "remembered"
    cookie = officer.cookies["killswitch_sort"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    by_orders = ["Gamma", "delta", "beta", "EPSILON", "ALPHA"]
    assert shown(html(officer.get("/?sort=orders"))) == by_orders, "unknown may be any number"
    assert shown(html(officer.get("/?sort=nonsense"))) == by_orders
    assert shown(html(officer.get("/?sort=trouble")))[0] == "EPSILON"


def test_ids_that_differ_by_case_are_neighbours_in_the_configured_order(officer: Client) -> None:
    for exchange_id in ("b", "C", "a", "B"):
        factories.exchange(exchange_id)
    assert [name.lower() for name in shown(console(officer))] == ["a", "b", "b", "c"]


@pytest.mark.parametrize(("count", "default"), [(3, "comfortable"), (21, "compact")])
def test_the_height_of_rows_depends_on_their_number_until_it_is_chosen(
    officer: Client, count: int, default: str
) -> None:
    factories.exchanges(count)
    assert f'class="card grid {default}' in console(officer)
    assert 'class="card grid compact' in html(officer.get("/?rows=compact"))
    assert 'class="card grid compact' in console(officer)
    assert 'class="card grid comfortable' in html(officer.get("/?rows=comfortable"))
    officer.cookies["killswitch_rows"] = "<script>"
    assert f'class="card grid {default}' in console(officer)
