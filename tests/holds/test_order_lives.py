"""How many orders an episode has seen, how many are gone, and how long one lived."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from killswitch.ems.open_orders import OpenOrder
from killswitch.holds.order_lives import MAX_SYMBOLS, OrderLives


def order(number: int | None, *, symbol: str = "BTC") -> OpenOrder:
    fields = dict.fromkeys(OpenOrder.__annotations__, "")
    ids = {"client_order_id": f"c{number}"} if number is not None else {}
    return OpenOrder(**{**fields, "symbol": symbol, **ids})


def orders(*numbers: int) -> list[OpenOrder]:
    return [order(number) for number in numbers]


def test_an_order_lives_from_the_first_list_that_has_it_to_the_first_that_has_not() -> None:
    lives = OrderLives()
    lives.observe(orders(1, 2), count=2, now=10.0)
    lives.observe(orders(2, 3), count=2, now=11.5)
    assert (lives.seen, lives.gone, lives.longest_s) == (3, 1, 1.5)
    assert lives.oldest_s(now=12.0) == 2.0
    lives.observe([], count=0, now=13.0)
    assert (lives.seen, lives.gone, lives.longest_s) == (3, 3, 3.0)
    assert lives.oldest_s(now=14.0) is None


def test_orders_without_ids_are_told_apart_by_their_number() -> None:
    lives = OrderLives()
    lives.observe([order(None)] * 3, count=3, now=1.0)
    lives.observe([order(None)] * 2, count=2, now=2.0)
    assert (lives.seen, lives.gone) == (3, 1)


def test_orders_beyond_those_that_are_kept_are_counted() -> None:
    lives = OrderLives()
    lives.observe(orders(1), count=5001, now=1.0)
    lives.observe(orders(1), count=4001, now=2.0)
    lives.observe([], count=0, now=3.0)
    assert (lives.seen, lives.gone) == (5001, 5001)


def test_orders_of_a_long_list_are_not_counted_again_when_they_come_into_its_kept_part() -> None:
    lives = OrderLives()
    lives.observe(orders(1, 2), count=5, now=1.0)
    lives.observe(orders(3, 4), count=3, now=2.0)  # the first two are gone
    lives.observe(orders(5), count=1, now=3.0)
    lives.observe([], count=0, now=4.0)
    assert (lives.seen, lives.gone) == (5, 5)


def test_another_process_takes_what_it_finds_for_what_was_open() -> None:
    lives = OrderLives(
        open_before=3, oldest_before_at=4.0, seen_before=10, gone_before=7, longest_s=1.0
    )
    lives.observe(orders(8, 9), count=2, now=10.0)
    assert (lives.seen, lives.gone, lives.longest_s) == (10, 8, 6.0)
    lives.observe(orders(8, 9, 10, 11), count=4, now=11.0)
    assert (lives.seen, lives.gone, lives.longest_s) == (12, 8, 7.0)


def test_more_orders_than_were_open_before_are_new() -> None:
    lives = OrderLives(open_before=1, oldest_before_at=4.0, seen_before=1)
    lives.observe(orders(1, 2, 3), count=3, now=5.0)
    assert (lives.seen, lives.gone) == (3, 0)


def test_symbols_are_kept_once_each_and_not_without_end() -> None:
    lives = OrderLives()
    many = [order(number, symbol=f"S{number % 90}") for number in range(200)]
    lives.observe(many, count=200, now=1.0)
    assert lives.symbols == [f"S{number}" for number in range(MAX_SYMBOLS)]


def test_an_order_of_a_list_that_flaps_is_one_order() -> None:
    lives = OrderLives()
    for second in range(10):
        listed = orders(1) if second % 2 == 0 else []
        lives.observe(listed, count=len(listed), now=float(second))
    lives.observe(orders(1), count=1, now=10.0)
    assert (lives.seen, lives.gone, lives.longest_s) == (1, 0, 10.0)


def test_an_order_that_gets_the_id_of_its_exchange_later_is_one_order() -> None:
    lives = OrderLives()
    first = order(1)
    lives.observe([first], count=1, now=0.0)
    lives.observe([replace(first, exchange_order_id="77")], count=1, now=9.0)
    assert (lives.seen, lives.gone, lives.longest_s) == (1, 0, 9.0)


def test_nothing_is_gone_from_a_list_that_may_not_be_whole() -> None:
    lives = OrderLives()
    for number in range(5):
        lives.observe(orders(number), count=1, now=float(number), is_whole=False)
    assert (lives.seen, lives.gone) == (5, 0)
    lives.observe([], count=0, now=9.0)
    assert (lives.seen, lives.gone) == (5, 5)


@given(st.lists(st.tuples(st.sets(st.integers(0, 6)), st.integers(0, 3)), min_size=1, max_size=8))
def test_every_order_seen_is_listed_or_gone(lists: list[tuple[set[int], int]]) -> None:
    lives = OrderLives()
    for second, (numbers, more) in enumerate(lists):
        lives.observe(orders(*sorted(numbers)), count=len(numbers) + more, now=float(second))
        assert lives.seen - lives.gone == len(numbers) + more
    assert lives.seen >= len(set().union(*(numbers for numbers, _ in lists)))
