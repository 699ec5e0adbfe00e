"""A web process carries out what no worker and no watchdog claims in time."""

import pytest
from django.db import OperationalError, connection

from killswitch.cancels import execution, last_resort, services
from killswitch.cancels.last_resort import LastResort
from killswitch.cancels.models import CancelRequest
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.clock import Clock
from tests.conftest import wait_for

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts"),
]


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> LastResort:
    last = LastResort(clock=clock)
    monkeypatch.setattr(services, "press_recorders", [*services.press_recorders, last.remember])
    return last


def all_final() -> bool:
    return all(request.is_final for request in CancelRequest.objects.all())


def test_what_has_not_been_claimed_in_time_is_carried_out_here(
    simulator: Simulator, press: Press, last: LastResort, clock: Clock
) -> None:
    press("KRAKEN", "BINANCE")
    last.run_unclaimed()
    assert simulator.calls() == []
    clock.now += last_resort.CLAIMED_WITHIN_S
    last.run_unclaimed()
    wait_for(all_final, seconds=10)
    assert {call.exchange_id for call in simulator.calls()} == {"KRAKEN", "BINANCE"}


def test_what_has_been_claimed_is_left_alone_and_costs_one_query(
    simulator: Simulator, press: Press, last: LastResort, clock: Clock
) -> None:
    requests = press("KRAKEN")
    execution.run(ids=[request.pk for request in requests])
    wait_for(all_final, seconds=10)
    clock.now += last_resort.CLAIMED_WITHIN_S
    queries: list[str] = []

    def count(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        queries.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        last.run_unclaimed()
        last.run_unclaimed()
    assert len(queries) == 1
    assert len(simulator.calls("KRAKEN")) == 1


def test_a_database_that_fails_then_is_tried_again_but_not_for_ever(
    simulator: Simulator, press: Press, last: LastResort, clock: Clock
) -> None:
    press("KRAKEN")
    clock.now += last_resort.CLAIMED_WITHIN_S

    def fail(*_: object) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        last.run_unclaimed()
    clock.now += last_resort.MAX_AGE_S
    last.run_unclaimed()
    last.run_unclaimed()
    assert simulator.calls() == []
    press("BINANCE")
    clock.now += last_resort.CLAIMED_WITHIN_S
    last.run_unclaimed()
    wait_for(lambda: len(simulator.calls("BINANCE")) > 0, seconds=10)
