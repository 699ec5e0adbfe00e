"""Consoles to look at: every status, sixty rows, and a readiness that a scene may change."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.audit.canonical_json import utc_text
from killswitch.cancels.states import Status
from killswitch.exchanges.models import (
    Exchange,
    OpenOrderList,
    OpenOrderSample,
    UncoveredExchange,
)
from killswitch.holds.models import Episode
from killswitch.holds.services import Act, start_hold
from killswitch.observer.order_lists import ORDER_FIELDS
from killswitch.readiness.judgement import Check, Readiness, judge
from tests import factories

Scene = tuple[str, str, int | None, Status | None]
FEW: tuple[Scene, ...] = (
    ("COINBASE", "Coinbase", 3, Status.RESIDUAL),
    ("BITSTAMP/2574", "Bitstamp, desk 2574", 11, Status.UNKNOWN),
    ("DERIBIT", "Deribit", 22, Status.REJECTED),
    ("KRAKEN/JOHN", "Kraken, John", 14, Status.SENDING),
    ("BITMEX", "BitMEX", 2040, Status.VERIFYING),
    ("BINANCE", "Binance", 6, Status.CONFIRMED),
    ("GEMINI", "Gemini", 8, Status.CONFIRMED),
    ("POLONIEX", "", 4, Status.UNVERIFIED),
    ("HITBTC", "HitBTC", 9, Status.NOT_DELIVERED),
    ("LMAXDIGITAL", "LMAX Digital", 7, None),
    ("BITFINEX", "Bitfinex", 31, None),
    ("DYDX", "dYdX", None, Status.REQUESTED),
)
# No other process runs next to the server of these tests, so the checks are given.
MEASURED = (("Database", 2.0), ("EMS", 84.0), ("Workers", None), ("Queue", 11.0), ("Log", None))
READY = judge(
    tuple(
        Check(name=label.lower(), label=label, ok=True, detail="works", milliseconds=milliseconds)
        for label, milliseconds in MEASURED
    )
)
NOT_READY = judge(
    (
        *READY.checks[:2],
        Check(
            name="workers", label="Workers", ok=False, needed=True, detail="last beat: 120 s ago"
        ),
        Check(name="watchdog", label="Watchdog", ok=False, needed=True, detail="last beat: never"),
    )
)
readiness: list[Readiness] = [READY]


def console(user: User, rows: Iterable[Scene] = FEW, *, alarms: bool = True) -> list[Exchange]:
    """Fill the console: these rows, an exchange that is not set up, and a disabled one."""
    exchanges = []
    for position, (exchange_id, name, orders, status) in enumerate(rows):
        exchange = factories.exchange(
            exchange_id,
            name=name,
            orders=orders,
            position=position,
            caveat=factories.CAVEAT if position % 3 else "",
        )
        exchanges.append(exchange)
        if status is not None:
            reason = ("Runaway algorithm", "Venue incident", "")[position % 3]
            batch = factories.press(user, exchange, reason=reason)
            factories.bring(batch.requests.get(), status)
    UncoveredExchange.objects.create(exchange_id="OKEX/NOT-CONFIGURED", open_orders=12)
    factories.exchange("OLD-VENUE", orders=5, enabled=False)
    if not alarms:
        Alarm.objects.all().delete()
    return exchanges


def sixty(user: User) -> list[Exchange]:
    """Fill the console with sixty rows, some bad and some in flight."""
    rows = [
        (f"EXCHANGE{number:02}", f"Exchange {number}", number, FEW[number % len(FEW)][3])
        for number in range(60)
    ]
    return console(user, rows)


def held(user: User) -> Exchange:
    """Fill the page of an exchange: open orders, a Hold with episodes, requests, six hours."""
    row = factories.exchange("KRAKEN/JOHN", name="Kraken, John", orders=240)
    now = datetime.now(UTC)
    for status in (Status.CONFIRMED, Status.REJECTED, Status.RESIDUAL, Status.SENDING):
        batch = factories.press(user, row, reason="Runaway algorithm")
        factories.bring(batch.requests.get(), status)
    act = Act.of_user(user)
    hold = start_hold(row, act=act, reason="Runaway algorithm").hold
    for number in range(1, 4):
        request = factories.press(user, row).requests.get()
        factories.bring(request, Status.CONFIRMED)
        Episode.objects.create(
            hold=hold,
            request=request,
            number=number,
            orders_seen=17 * number,
            orders_cancelled=17 * number,
            symbols=["KRAKEN_SPOT_BTC_USD", "KRAKEN_SPOT_ETH_USD"],
            longest_life_ms=1_240,
            first_order_at=now - timedelta(minutes=9 * number),
            last_order_at=now - timedelta(minutes=9 * number, seconds=-20),
        )
    factories.change(
        hold, episode_count=5, orders_seen=170, orders_cancelled=168, last_order_at=now
    )
    symbols = ("KRAKEN_SPOT_BTC_USD", "KRAKEN_SPOT_ETH_USD", "KRAKEN_PERP_SOL_USD_LONG_NAME")
    orders = [
        {
            **{name: getattr(factories.open_order(number), name) for name in ORDER_FIELDS},
            "symbol": symbols[number % 3],
            "side": ("BUY", "SELL")[number % 2],
            "first_seen_at": utc_text(now - timedelta(seconds=7 * (100 - number))),
        }
        for number in range(100)
    ]
    # As the observer does after the cancels of above have read 0.
    factories.change(row, open_orders=240, seen_at=factories.observe(), orders_read_at=None)
    factories.change(
        OpenOrderList(
            configured_exchange=row, orders=orders, total=240, read_at=factories.observe()
        )
    )
    minute = now.replace(second=0, microsecond=0)
    OpenOrderSample.objects.bulk_create(
        OpenOrderSample(
            configured_exchange=row,
            minute=minute - timedelta(minutes=ago),
            lowest=(ago // 50) * 30 % 110,
            highest=(ago // 50) * 30 % 110 + (ago % 7 == 0) * 12 + 4 * (ago < 100),
        )
        for ago in range(1, 330)
        if not 120 < ago < 150
    )
    Alarm.objects.all().delete()
    return row
