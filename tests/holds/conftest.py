"""Held exchanges, people who are signed in, and an enforcement that runs in this process."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from killswitch.accounts.models import User
from killswitch.audit.actors import Actor
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
from tests import factories
from tests.alarms.conftest import _plugins_are_loaded, sink
from tests.conftest import wait_for
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga
from tests.holds import holding

__all__ = [
    "_plugins_are_loaded",
    "_readiness_without_a_database",
    "compliance",
    "officer",
    "olga",
    "sink",
]

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
def blind_after_s() -> float:
    """Not in the time of a test, unless the test says otherwise: the machine may be busy."""
    return 600.0


@pytest.fixture
def trading_after_s() -> float:
    """Not in the time of a test either."""
    return 600.0


@pytest.fixture
def enforced(
    settings: Any,
    simulator: Any,
    monkeypatch: pytest.MonkeyPatch,
    blind_after_s: float,
    trading_after_s: float,
) -> Iterator[enforcement.Enforcer]:
    """Enforce Holds in threads of this process, as a watchdog does."""
    settings.HOLD_INTERVAL = 0.2
    settings.CANCEL_DEADLINE = 30
    monkeypatch.setitem(KILLS, Origin.HOLD, QuickEpisode)
    stop = threading.Event()
    enforcer = Enforcer(blind_after_s=blind_after_s, trading_after_s=trading_after_s)
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


@pytest.fixture
def kraken(db: None) -> Exchange:
    return factories.exchange("KRAKEN", orders=14)


@pytest.fixture
def ivan(db: None) -> User:
    """A second risk officer."""
    return holding.ivan()


@pytest.fixture
def second_officer(ivan: User) -> Client:
    """His browser."""
    client = Client()
    client.force_login(ivan)
    return client
