"""The demonstration shows every way in which a cancel can end, and its books move."""

import random
import time
from functools import partial

from killswitch.simulator.books import Book
from killswitch.simulator.demo import DEMO_EXCHANGES, NOT_CONFIGURED, trade
from killswitch.simulator.scenarios import EVERYTHING
from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import cancel_all, eventually, open_orders, send_request


def test_every_final_status_that_a_running_ems_can_cause_is_shown() -> None:
    ends = {exchange.ends_in for exchange in DEMO_EXCHANGES}
    assert ends == {"CONFIRMED", "RESIDUAL", "UNVERIFIED", "REJECTED", "UNKNOWN"}


def test_every_book_begins_at_its_usual_size_and_one_is_not_configured() -> None:
    with Simulator(demo=True) as simulator:
        exchanges = send_request(simulator, method="GET", path="/_simulator/demo").json
        configured = [exchange["exchange_id"] for exchange in exchanges if exchange["configured"]]
        assert configured == [exchange.exchange_id for exchange in DEMO_EXCHANGES]
        counts = send_request(simulator, method="GET", path="/_simulator/open").json["counts"]
        assert set(counts) - set(configured) == {NOT_CONFIGURED.exchange_id}
        assert counts["BINANCEUS/THOUSANDS"] >= 2900
        assert all(counts.values())
        assert len(open_orders(simulator).json) > 3000


def test_each_exchange_does_what_its_name_says() -> None:
    with Simulator(demo=True) as simulator:
        assert cancel_all(simulator, "GEMINI/REJECTS").json["type"] == "MESSAGE_REJECT"
        assert cancel_all(simulator, "DERIBIT/UNREACHABLE").status == 490
        assert open_orders(simulator, "BITFINEX/LIST-UNREADABLE").status == 503
        cancel_all(simulator, "COINBASE/LEAVES-3-OPEN")
        cancel_all(simulator, "BINANCEUS/THOUSANDS")
        eventually(lambda: simulator.really_open("COINBASE/LEAVES-3-OPEN") == 3)
        eventually(lambda: simulator.really_open("BINANCEUS/THOUSANDS") == 0)


def test_a_reset_starts_the_demonstration_over() -> None:
    with Simulator(demo=True) as simulator:
        cancel_all(simulator, "KRAKEN")
        eventually(lambda: simulator.really_open("KRAKEN") == 0)
        simulator.reset()
        assert simulator.really_open("KRAKEN") > 0
        assert cancel_all(simulator, "DERIBIT/UNREACHABLE").status == 490


def test_the_books_move_by_themselves() -> None:
    with Simulator(demo=True) as simulator:
        counts = partial(send_request, simulator, method="GET", path="/_simulator/open")
        before = counts().json
        eventually(lambda: counts().json != before, timeout_s=10)


def _book(*, orders: int) -> Book:
    book = Book("KRAKEN", cancel_seconds=(0.0, 0.0))
    book.place(orders)
    return book


def test_a_book_stays_about_its_usual_size_for_an_hour_of_trading() -> None:
    book, rng = _book(orders=20), random.Random(1)
    sizes = []
    for _ in range(7200):
        trade(book, usual_orders=20, rng=rng)
        sizes.append(book.count())
    assert 10 <= min(sizes) < max(sizes) <= 40


def test_a_book_stays_empty_for_fifteen_seconds_after_a_cancel_and_then_fills_again() -> None:
    book, rng = _book(orders=20), random.Random(1)
    book.cancel(EVERYTHING)
    for _ in range(100):
        trade(book, usual_orders=20, rng=rng)
    assert book.count() == 0
    book.cancelled_at = time.monotonic() - 14.5
    trade(book, usual_orders=20, rng=rng)
    assert book.count() == 0
    book.cancelled_at = time.monotonic() - 15.1
    for _ in range(30):
        trade(book, usual_orders=20, rng=rng)
    assert book.count() >= 14
