"""The demonstration: exchanges named after what they do, and the trading that moves their books."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from killswitch.simulator.books import Book, Books
from killswitch.simulator.faults import Fault

_TICK_S = 0.5
_QUIET_AFTER_CANCEL_S = 15.0  # long enough to see on the screen that the book is empty
_TICKS_TO_REFILL = 20


@dataclass(frozen=True, kw_only=True)
class DemoExchange:
    """One exchange of the demonstration: its usual book, its faults, and how a cancel ends."""

    exchange_id: str
    name: str
    caveat: str = ""
    usual_orders: int
    cancel: tuple[Fault, ...] = ()
    listing: tuple[Fault, ...] = ()
    ends_in: str = "CONFIRMED"


# One for each final status but NOT_DELIVERED: an EMS that is running always gets the request. To
# see that status, stop this process and cancel.
DEMO_EXCHANGES: tuple[DemoExchange, ...] = (
    DemoExchange(exchange_id="BINANCE", name="Binance", usual_orders=24),
    DemoExchange(
        exchange_id="KRAKEN",
        name="Kraken",
        caveat="Orders of KRAKEN/JOHN belong to another account and are not cancelled.",
        usual_orders=17,
    ),
    DemoExchange(exchange_id="KRAKEN/JOHN", name="Kraken, John's account", usual_orders=6),
    DemoExchange(
        exchange_id="BITSTAMP/SLOW",
        name="Bitstamp, responds after 4 s",
        usual_orders=11,
        cancel=({"fault": "slow", "seconds": 4, "repeat": True},),
    ),
    DemoExchange(
        exchange_id="COINBASE/LEAVES-3-OPEN",
        name="Coinbase, leaves 3 open",
        caveat="Accepts every cancel, but three orders always stay open.",
        usual_orders=14,
        cancel=({"fault": "partial", "leaves": 3, "repeat": True},),
        ends_in="RESIDUAL",
    ),
    DemoExchange(
        exchange_id="DERIBIT/UNREACHABLE",
        name="Deribit, unreachable",
        usual_orders=9,
        cancel=(
            {"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490, "repeat": True},
        ),
        ends_in="REJECTED",
    ),
    DemoExchange(
        exchange_id="GEMINI/REJECTS",
        name="Gemini, rejects",
        caveat="Does not support cancelling all orders at once.",
        usual_orders=8,
        cancel=({"fault": "reject", "reason": "METHOD_NOT_SUPPORTED", "repeat": True},),
        ends_in="REJECTED",
    ),
    DemoExchange(
        exchange_id="BITFINEX/LIST-UNREADABLE",
        name="Bitfinex, list unreadable",
        usual_orders=12,
        listing=({"fault": "server_error", "status": 503, "repeat": True},),
        ends_in="UNVERIFIED",
    ),
    DemoExchange(
        exchange_id="BITMEX/SILENT",
        name="BitMEX, silent",
        usual_orders=10,
        cancel=({"fault": "silent", "repeat": True},),
        listing=({"fault": "silent", "repeat": True},),
        ends_in="UNKNOWN",
    ),
    DemoExchange(
        exchange_id="POLONIEX/ANSWER-LOST",
        name="Poloniex, cancels but the response is lost",
        usual_orders=7,
        cancel=({"fault": "reset", "carried_out": True, "repeat": True},),
    ),
    DemoExchange(
        exchange_id="HITBTC/ORDERS-COME-BACK",
        name="HitBTC, orders come back after 8 s",
        caveat="The exchange restores cancelled orders a few seconds later.",
        usual_orders=9,
        cancel=({"fault": "come_back", "after": 8, "repeat": True},),
    ),
    DemoExchange(
        exchange_id="BINANCEUS/THOUSANDS",
        name="Binance US, thousands of orders",
        usual_orders=3000,
    ),
)
# The EMS lists orders of it and the product is not set up for it: that must be visible too.
NOT_CONFIGURED = DemoExchange(
    exchange_id="OKEX/NOT-CONFIGURED",
    name="OKEX, not configured",
    usual_orders=5,
    ends_in="",
)
ALL_BOOKS = (*DEMO_EXCHANGES, NOT_CONFIGURED)


def open_demo(books: Books, *, script: Callable[..., None]) -> None:
    """Fill every book to its usual size and give each exchange its fault."""
    for exchange in ALL_BOOKS:
        books[exchange.exchange_id].place(exchange.usual_orders)
        script(exchange.exchange_id, cancel=exchange.cancel, list=exchange.listing, tag="demo")


def keep_trading(books: Books, *, stopping: threading.Event) -> None:
    """Trade as algorithms do: orders come, are filled, and return after a cancel."""
    rng = random.Random()  # noqa: S311 - sample figures, not a secret
    while not stopping.wait(_TICK_S):
        for exchange in ALL_BOOKS:
            trade(books[exchange.exchange_id], usual_orders=exchange.usual_orders, rng=rng)


def trade(book: Book, *, usual_orders: int, rng: random.Random) -> None:
    """Simulate half a second of trading on one exchange, except shortly after a cancel."""
    if time.monotonic() - book.cancelled_at < _QUIET_AFTER_CANCEL_S:
        return
    shortfall = usual_orders - book.count()
    if shortfall > usual_orders // 5:
        book.place(max(1, usual_orders // _TICKS_TO_REFILL))
    elif shortfall > -usual_orders // 10 and rng.random() < (0.4 if shortfall > 0 else 0.15):
        book.place(1)
    if rng.random() < 0.3:
        book.trade(share=rng.uniform(0.2, 1.0))
