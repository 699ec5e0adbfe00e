"""An order is reported as the EMS does."""

import json
import random
import re

from hypothesis import given
from hypothesis import strategies as st

from killswitch.simulator.orders import Order, placed_history, random_order, utc_now

_FIELDS = {
    "exchange_id",
    "client_order_id",
    "symbol_id_exchange",
    "symbol_id_coinapi",
    "amount_order",
    "price",
    "side",
    "order_type",
    "time_in_force",
    "expire_time",
    "exec_inst",
    "client_order_id_format_exchange",
    "exchange_order_id",
    "amount_open",
    "amount_filled",
    "avg_px",
    "status",
    "status_history",
    "error_message",
    "fills",
}
_SEVEN_DECIMALS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


def _order(exchange_id: str = "KRAKEN/JOHN", seed: int = 1) -> Order:
    return random_order(exchange_id=exchange_id, rng=random.Random(seed), history=placed_history())


def test_a_report_has_every_field_of_an_execution_report() -> None:
    report = json.loads(_order().report)
    assert set(report) >= _FIELDS
    assert report["exchange_id"] == "KRAKEN/JOHN"
    assert report["symbol_id_coinapi"].startswith("KRAKEN_SPOT_")


def test_the_history_goes_forward_in_time_with_seven_decimals() -> None:
    history = json.loads(_order().report)["status_history"]
    assert [status for status, _ in history] == ["RECEIVED", "ROUTING", "ROUTED", "NEW"]
    times = [at for _, at in history]
    assert times == sorted(times)
    assert all(_SEVEN_DECIMALS.fullmatch(at) for at in times)


def test_a_change_is_added_to_the_history_and_the_order_before_it_is_untouched() -> None:
    order = _order()
    pending = order.with_status("PENDING_CANCEL", at=utc_now())
    assert order.status == "NEW"
    assert json.loads(pending.report)["status_history"][-1][0] == "PENDING_CANCEL"


def test_an_order_that_was_partly_filled_rests_as_partially_filled() -> None:
    order = _order()
    part = order.with_fill(order.amount_order / 2, at=utc_now())
    assert part.status == part.resting_status == "PARTIALLY_FILLED"
    assert json.loads(part.report)["fills"][0]["amount"] == part.amount_filled


@given(
    exchange_id=st.text(min_size=1),
    seed=st.integers(0, 1000),
    shares=st.lists(st.floats(0.01, 1), max_size=5),
)
def test_the_open_and_the_filled_amount_add_up_to_the_order(
    exchange_id: str, seed: int, shares: list[float]
) -> None:
    order = _order(exchange_id, seed)
    for share in shares:
        order = order.with_fill(order.amount_order * share, at=utc_now())
    assert order.price > 0
    assert round(order.amount_open + order.amount_filled, 8) == order.amount_order
    assert (order.status == "FILLED") == (order.amount_open == 0)
