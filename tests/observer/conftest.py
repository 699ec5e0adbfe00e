"""Fixtures of the observer: an active one, exchanges, and those of readiness, which it feeds."""

import pytest

from killswitch.ems.client import EmsClient
from killswitch.exchanges.models import Exchange
from killswitch.observer.open_orders import Observer
from tests.readiness.conftest import _nothing_is_remembered, all_is_well, broker

__all__ = ["_nothing_is_remembered", "all_is_well", "broker"]


@pytest.fixture
def observer(ems: EmsClient) -> Observer:
    observer = Observer(client=ems)
    assert observer.keep_lease()
    return observer


@pytest.fixture
def kraken() -> Exchange:
    return Exchange.objects.create(exchange_id="KRAKEN")


@pytest.fixture
def binance() -> Exchange:
    return Exchange.objects.create(exchange_id="BINANCE")
