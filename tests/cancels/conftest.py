"""Exchanges and presses for the tests of the kill."""

from collections.abc import Callable

import pytest

from killswitch.audit.chain import Actor
from killswitch.cancels import services
from killswitch.cancels.models import CancelRequest
from killswitch.exchanges.models import Exchange
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga

__all__ = ["_readiness_without_a_database", "compliance", "officer", "olga"]

Ask = Callable[..., list[CancelRequest]]


@pytest.fixture
def ask(transactional_db: None) -> Ask:
    """Records a press on the named exchanges, which are made when they are not there."""

    def press(*exchange_ids: str, reason: str = "drill") -> list[CancelRequest]:
        exchanges = [
            Exchange.objects.get_or_create(exchange_id=exchange_id)[0]
            for exchange_id in exchange_ids
        ]
        asked = services.request_cancel_from_command_line(
            exchanges=exchanges,
            everywhere=False,
            who=Actor(name="Olga Ray (olga)", role="Risk officer"),
            reason=reason,
        )
        return list(asked.batch.requests.order_by("id"))

    return press
