"""Consoles to look at: every status, sixty rows, and a readiness that a scene may change."""

from collections.abc import Iterable

from killswitch.accounts.models import User
from killswitch.alarms.models import Alarm
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.readiness.health_checks import Check, Readiness, judge
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
