"""An algorithm trades at its pace, and the simulator knows how long each order was open."""

import time
from typing import Any

import pytest

from killswitch.simulator.books import Book
from killswitch.simulator.lives import longest
from killswitch.simulator.parameters import InvalidFault
from killswitch.simulator.scenarios import EVERYTHING, CancelEffect
from killswitch.simulator.server import Simulator
from tests.simulator.raw_clients import (
    cancel_all,
    eventually,
    list_request,
    open_orders,
    read_to_end,
    send_request,
)
from tests.simulator.remote import SimulatorRemote
from tests.simulator.test_control import Either, either

__all__ = ["either"]


def test_it_places_orders_on_each_exchange_at_its_pace_until_its_end(either: Either) -> None:
    began_at = time.monotonic()
    either.start_algorithm(["A", "B/1"], orders=3, interval_s=0.1, duration_s=0.45)
    assert either.algorithm_report().running
    eventually(lambda: not either.algorithm_report().running)
    report = either.algorithm_report()
    assert (report.exchange_ids, report.placed, report.alive) == (["A", "B/1"], 30, 30)
    assert [either.really_open(name) for name in ("A", "B/1")] == [15, 15]
    placed = sorted({round(life.placed_monotonic - began_at, 1) for life in either.lives("A")})
    assert placed[-1] - placed[0] == pytest.approx(0.4, abs=0.11)


def test_a_stopped_one_places_no_more_orders_and_leaves_those_that_are_open(
    either: Either,
) -> None:
    either.start_algorithm(["A"], interval_s=0.05)
    eventually(lambda: either.really_open("A") >= 10)
    either.stop_algorithm()
    count = either.really_open("A")
    time.sleep(0.2)
    assert either.really_open("A") == count
    assert not either.algorithm_report().running


def test_another_one_replaces_it_and_a_reset_ends_it(either: Either) -> None:
    either.start_algorithm(["A"], interval_s=0.05)
    either.start_algorithm(["B"], orders=1, interval_s=0.05)
    count = either.really_open("A")
    eventually(lambda: either.really_open("B") >= 3)
    assert either.really_open("A") == count
    either.reset()
    time.sleep(0.2)
    assert (either.really_open("A"), either.really_open("B")) == (0, 0)


def test_it_ends_with_the_server() -> None:
    with Simulator() as simulator:
        simulator.start_algorithm(["A"], interval_s=0.05)
    assert not simulator.algorithm_report().running


def test_the_life_of_an_order_is_recorded(either: Either) -> None:
    (order_id,) = either.place("KRAKEN", 1)
    (life,) = either.lives("KRAKEN")
    assert (life.exchange_id, life.client_order_id) == ("KRAKEN", order_id)
    assert (life.first_listed_monotonic, life.ended_monotonic) == (None, None)
    open_orders(either, "KRAKEN")
    time.sleep(0.3)
    open_orders(either)
    cancel_all(either, "KRAKEN")
    eventually(lambda: either.really_open("KRAKEN") == 0)
    (life,) = either.lives("KRAKEN")
    assert life.first_listed_monotonic is not None
    assert life.ended_monotonic is not None
    assert life.placed_monotonic <= life.first_listed_monotonic < life.ended_monotonic
    assert 0.3 <= life.listed_s(now=0.0) < 2


def test_the_list_of_all_shows_an_order_too(either: Either) -> None:
    either.place("KRAKEN", 1)
    open_orders(either)
    assert either.lives("KRAKEN")[0].first_listed_monotonic is not None


@pytest.mark.parametrize(
    "fault",
    [
        "server_error",
        "half_body",
        "close",
        {"fault": "reset", "when": "mid_answer"},
        {"fault": "raw", "body": "[]"},
    ],
    ids=str,
)
def test_a_list_that_does_not_arrive_shows_no_order(simulator: Simulator, fault: Any) -> None:
    simulator.script("KRAKEN", list=[fault], orders=1)
    read_to_end(simulator, list_request("KRAKEN"), timeout_s=0.2)
    assert simulator.calls("KRAKEN", "GET")[0].fault != "ok"
    assert simulator.lives("KRAKEN")[0].first_listed_monotonic is None


def test_a_late_list_shows_an_order_when_it_arrives(simulator: Simulator) -> None:
    simulator.script("KRAKEN", list=[{"fault": "slow", "seconds": 0.3}], orders=1)
    open_orders(simulator, "KRAKEN")
    (life,) = simulator.lives("KRAKEN")
    assert life.first_listed_monotonic is not None
    assert life.first_listed_monotonic - life.placed_monotonic >= 0.3


def test_the_longest_life_is_of_the_order_that_was_listed_for_longest(either: Either) -> None:
    assert either.algorithm_report().longest_life is None
    either.start_algorithm(["A"], orders=1, interval_s=0.1, duration_s=0.25)
    eventually(lambda: not either.algorithm_report().running)
    assert either.algorithm_report().longest_life is None
    open_orders(either, "A")
    time.sleep(0.2)
    cancel_all(either, "A")
    eventually(lambda: either.algorithm_report().alive == 0)
    report = either.algorithm_report()
    assert report.longest_life is not None
    assert report.longest_life in either.lives("A")
    assert report.longest_listed_s >= 0.2
    assert report.longest_listed_s == report.longest_life.listed_s(now=0.0)


def test_an_order_that_comes_back_has_another_life() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.01, 0.02))
    ids = book.place(1)
    book.listed_orders(sent_in_s=0)
    book.cancel(CancelEffect(comes_back_after_s=0.2))
    eventually(lambda: book.count() == 0)
    eventually(lambda: book.count() == 1)
    first, second = book.lives()
    assert [first.client_order_id, second.client_order_id] == ids * 2
    assert first.ended_monotonic is not None
    assert 0.15 < second.placed_monotonic - first.ended_monotonic < 0.25
    assert (second.first_listed_monotonic, second.ended_monotonic) == (None, None)


def test_a_life_ends_when_the_cancel_takes_effect_not_when_that_is_noticed() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.05, 0.1))
    book.place(1)
    book.listed_orders(sent_in_s=0)
    book.cancel(EVERYTHING)
    time.sleep(0.5)
    (life,) = book.lives()
    assert 0.05 <= life.listed_s(now=time.monotonic()) <= 0.15


def test_a_life_ends_with_a_fill_or_another_order_of_the_same_id() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.0, 0.0))
    book.place(1)
    (order,) = book.open_orders()
    book.add(order)
    book.trade(share=1.0)
    assert [life.ended_monotonic is None for life in book.lives()] == [False, False]


def test_an_order_that_is_still_open_lives_until_now() -> None:
    book = Book("KRAKEN", cancel_seconds=(0.0, 0.0))
    book.place(1)
    book.listed_orders(sent_in_s=0)
    life = longest(book.lives(), now=0.0)
    assert life is not None
    assert life.first_listed_monotonic is not None
    assert life.listed_s(now=life.first_listed_monotonic + 7) == pytest.approx(7)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"exchange_ids": []},
        {"exchange_ids": "A"},
        {"exchange_ids": ["A", ""]},
        {"exchange_ids": [7]},
        {"exchange_ids": ["A"], "orders": -1},
        {"exchange_ids": ["A"], "interval_s": 0},
        {"exchange_ids": ["A"], "duration_s": "long"},
        {"exchange_ids": ["A"], "seconds": 3},
    ],
    ids=str,
)
def test_an_invalid_algorithm_is_refused(simulator: Simulator, body: Any) -> None:
    answer = send_request(simulator, method="POST", path="/_simulator/algorithm", body=body)
    assert answer.status == 400
    assert answer.json["error"]
    assert not simulator.algorithm_report().running
    assert simulator.really_open("A") == 0


def test_the_lives_are_those_of_one_exchange(simulator: Simulator) -> None:
    assert send_request(simulator, method="GET", path="/_simulator/lives").status == 400


def test_an_invalid_pace_is_the_same_error_on_both_sides(either: Either) -> None:
    with pytest.raises(InvalidFault, match="interval_s"):
        either.start_algorithm(["A"], interval_s=0)


def test_the_record_is_the_same_from_both_sides(simulator: Simulator) -> None:
    simulator.start_algorithm(["A"], interval_s=0.05, duration_s=0.1)
    eventually(lambda: not simulator.algorithm_report().running)
    open_orders(simulator, "A")
    cancel_all(simulator, "A")
    eventually(lambda: simulator.really_open("A") == 0)
    remote = SimulatorRemote(simulator.url)
    assert remote.lives("A") == simulator.lives("A")
    assert remote.algorithm_report() == simulator.algorithm_report()
