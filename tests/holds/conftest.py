"""Held exchanges, and an enforcement that runs in this process against the simulated EMS."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from killswitch.audit.chain import Actor
from killswitch.cancels import thread_slots
from killswitch.cancels.models import Origin
from killswitch.exchanges import registry
from killswitch.exchanges.models import Exchange
from killswitch.holds import enforcement, services
from killswitch.holds.models import Hold
from killswitch.holds.services import Act
from killswitch.runtime.shutdown import STOP
from tests.conftest import wait_for

OLGA = Act(by=Actor(name="os:olga", role="OPERATING_SYSTEM"), origin=Origin.COMMAND_LINE)
PETER = Act(by=Actor(name="os:peter", role="OPERATING_SYSTEM"), origin=Origin.COMMAND_LINE)

HoldExchange = Callable[..., Hold]


@pytest.fixture
def hold(transactional_db: None) -> HoldExchange:
    """Hold an exchange, which is created when it is missing."""

    def start(exchange_id: str = "KRAKEN", *, act: Act = OLGA) -> Hold:
        registry.add_missing([registry.ExchangeConfig(exchange_id=exchange_id)])
        exchange = Exchange.objects.get(exchange_id=exchange_id)
        return services.start_hold(exchange, act=act, reason="runaway algorithm").hold

    return start


@pytest.fixture
def enforced(settings: Any, simulator: Any) -> Iterator[enforcement.Enforcer]:
    """Enforce Holds in threads of this process, as a watchdog does."""
    settings.HOLD_INTERVAL = 0.2
    settings.CANCEL_DEADLINE = 30
    stop = threading.Event()
    yield enforcement.start_threads(stop)
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
