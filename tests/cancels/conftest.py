"""Exchanges and presses for the tests of the kill."""

from collections.abc import Callable
from typing import Any

import pytest

from killswitch.audit.actors import Actor
from killswitch.cancels import services
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.models import Exchange
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga

__all__ = ["_readiness_without_a_database", "compliance", "officer", "olga"]

Press = Callable[..., list[CancelRequest]]


@pytest.fixture
def press(transactional_db: None) -> Press:
    """Record a press on the named exchanges, which are created when they are missing."""

    def request_cancel(*exchange_ids: str) -> list[CancelRequest]:
        exchanges = [
            Exchange.objects.get_or_create(exchange_id=exchange_id)[0]
            for exchange_id in exchange_ids
        ]
        result = services.request_cancel_from_command_line(
            target=Target(exchanges=exchanges),
            by=Actor(name="Olga Ray (olga)", role="Risk officer"),
            reason="drill",
        )
        return list(result.batch.requests.order_by("id"))

    return request_cancel


@pytest.fixture
def short_timeouts(settings: Any) -> None:
    settings.EMS_TIMEOUT = 0.6
    settings.EMS_CONNECT_TIMEOUT = 0.3
    settings.CANCEL_DEADLINE = 2.5


@pytest.fixture
def timeouts_for_many(short_timeouts: None, settings: Any) -> None:
    """Many kills at once on a busy machine: a late answer would count as no answer."""
    settings.EMS_TIMEOUT = 2.0
    settings.EMS_CONNECT_TIMEOUT = 1.0
    settings.CANCEL_DEADLINE = 5
