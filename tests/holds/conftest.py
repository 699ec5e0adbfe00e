"""Held exchanges, and an enforcement that runs in this process against the simulated EMS."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from killswitch.audit.chain import Actor
from killswitch.cancels import thread_slots
from killswitch.cancels.execution import KILLS
from killswitch.cancels.models import Origin
from killswitch.exchanges import registry
from killswitch.exchanges.models import Exchange
from killswitch.holds import enforcement, services
from killswitch.holds.enforcement import Enforcer
from killswitch.holds.episode import HoldEpisode
from killswitch.holds.models import Hold
from killswitch.holds.services import Act
from killswitch.runtime.shutdown import STOP
from tests.alarms.conftest import _plugins_are_loaded, sink
from tests.conftest import wait_for

__all__ = ["_plugins_are_loaded", "sink"]

OLGA = Act(by=Actor(name="os:olga", role="OPERATING_SYSTEM"), origin=Origin.COMMAND_LINE)
PETER = Act(by=Actor(name="os:peter", role="OPERATING_SYSTEM"), origin=Origin.COMMAND_LINE)

HoldExchange = Callable[..., Hold]


class QuickEpisode(HoldEpisode):
    """An episode that is over after a second and a half without orders, not after ten."""

    quiet_s = 1.5


@pytest.fixture
def hold(transactional_db: None) -> HoldExchange:
    """Hold an exchange, which is created when it is missing."""

    def start(exchange_id: str = "KRAKEN", *, act: Act = OLGA) -> Hold:
        registry.add_missing([registry.ExchangeConfig(exchange_id=exchange_id)])
        exchange = Exchange.objects.get(exchange_id=exchange_id)
        return services.start_hold(exchange, act=act, reason="runaway algorithm").hold

    return start


@pytest.fixture
def enforced(
    settings: Any, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[enforcement.Enforcer]:
    """Enforce Holds in threads of this process, as a watchdog does."""
    settings.HOLD_INTERVAL = 0.2
    settings.CANCEL_DEADLINE = 30
    monkeypatch.setitem(KILLS, Origin.HOLD, QuickEpisode)
    stop = threading.Event()
    enforcer = Enforcer(blind_after_s=1.5, trading_after_s=4.0)
    yield enforcement.start_threads(stop, enforcer=enforcer)
    stop.set()
    STOP.set()
    try:
        wait_for(thread_slots.idle, seconds=20)
        wait_for(
            lambda: not any(thread.name.startswith("hold_") for thread in threading.enumerate()),
            seconds=20,
        )
    finally:
        STOP.clear()
        connection.close()
