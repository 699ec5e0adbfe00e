"""A book holds the orders that are really open, and a cancel takes time."""

import time

import pytest

from killswitch.simulator.books import Book
from killswitch.simulator.scenarios import EVERYTHING, NOTHING, CancelEffect
from tests.simulator.raw_clients import eventually


def _book(*, orders: int, cancel_seconds: tuple[float, float] = (0.05, 0.1)) -> Book:
    book = Book("KRAKEN", cancel_seconds=cancel_seconds)
    book.place(orders)
    return book


def _statuses(book: Book) -> set[str]:
    return {order.status for order in book.open_orders()}


def test_a_cancelled_order_is_pending_at_once_and_gone_within_its_time() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.05, 0.3))
    book.place(20)
    began = time.monotonic()
    book.cancel(EVERYTHING)
    assert _statuses(book) == {"PENDING_CANCEL"}
    assert book.count() == 20
    eventually(lambda: book.count() < 20)
    assert time.monotonic() - began >= 0.05
    eventually(lambda: book.count() == 0)


def test_an_order_placed_after_the_cancel_is_not_cancelled() -> None:
    book = _book(orders=5)
    book.cancel(EVERYTHING)
    late = book.place(1)
    eventually(lambda: book.count() == 1)
    assert [order.client_order_id for order in book.open_orders()] == late


def test_a_partial_cancel_leaves_exactly_the_oldest_orders() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.01, 0.02))
    ids = book.place(10)
    book.cancel(CancelEffect(leaves=3))
    eventually(lambda: book.count() == 3)
    assert [order.client_order_id for order in book.open_orders()] == ids[:3]
    assert _statuses(book) == {"NEW"}


def test_a_cancel_without_an_effect_changes_no_order() -> None:
    book = _book(orders=4)
    before = book.open_orders()
    book.cancel(NOTHING)
    assert book.open_orders() == before
    assert book.cancelled_at == float("-inf")


def test_the_venue_may_refuse_and_the_orders_are_open_again() -> None:
    book = _book(orders=4)
    book.cancel(CancelEffect(venue_refuses=True))
    assert _statuses(book) == {"PENDING_CANCEL"}
    eventually(lambda: _statuses(book) == {"NEW"})
    assert book.count() == 4


def test_cancelled_orders_may_come_back() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.01, 0.02))
    ids = book.place(6)
    book.cancel(CancelEffect(comes_back_after_s=0.2))
    eventually(lambda: book.count() == 0)
    eventually(lambda: book.count() == 6)
    assert {order.client_order_id for order in book.open_orders()} == set(ids)
    assert _statuses(book) == {"NEW"}


def test_a_second_cancel_while_the_first_is_pending_is_harmless() -> None:
    book = _book(orders=9)
    book.cancel(EVERYTHING)
    book.cancel(EVERYTHING)
    eventually(lambda: book.count() == 0)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_trade_fills_a_part_or_takes_the_order_off_the_book(share: float) -> None:
    book = _book(orders=1)
    book.trade(share=share)
    assert book.count() == (0 if share == 1.0 else 1)
    assert _statuses(book) <= {"PARTIALLY_FILLED"}


def test_an_order_that_is_being_cancelled_is_not_traded() -> None:
    book = _book(orders=1, cancel_seconds=(5, 6))
    book.cancel(EVERYTHING)
    book.trade(share=1.0)
    assert _statuses(book) == {"PENDING_CANCEL"}
