"""Orders that come back after a confirmed cancel are an alarm in time: real processes, one EMS."""

import time

import pytest
from django.db.models import F

from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.cancels.models import CancelRequest, SecondLook
from killswitch.cancels.states import Status
from killswitch.ems.client import EmsClient
from killswitch.exchanges.models import Exchange, Observation
from killswitch.observer.open_orders import Observer
from killswitch.observer.second_looks import SecondLooks
from killswitch.simulator.server import Simulator
from tests import factories
from tests.cancels.kills import carry_out
from tests.conftest import wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

ALARM_TIMEOUT_S = 5.0  # from when the EMS lists the orders
REOPENED = Alarm.objects.filter(kind=AlarmKind.REOPENED)


@pytest.fixture
def exchanges(simulator: Simulator) -> list[Exchange]:
    exchanges = [Exchange.objects.create(exchange_id=f"VENUE{n}", position=n) for n in range(5)]
    for exchange in exchanges:
        simulator.place(exchange.exchange_id, 3)
    return exchanges


def is_observed() -> bool:
    return Observation.objects.exclude(seen_at=None).exists()


def count(simulator: Simulator, exchanges: list[Exchange]) -> int:
    return sum(simulator.really_open(exchange.exchange_id) for exchange in exchanges)


@pytest.mark.timeout(120)
def test_five_of_five_exchanges_whose_orders_come_back_are_five_alarms_within_five_seconds(
    stack: Stack, exchanges: list[Exchange]
) -> None:
    for exchange in exchanges:
        stack.simulator.script(
            exchange.exchange_id, cancel=[{"fault": "come_back", "after": 4, "repeat": True}]
        )
    stack.set(OBSERVE_INTERVAL=2)
    stack.worker()
    stack.watchdog()
    stack.manage("observe")
    wait_for(is_observed, seconds=40)
    batch = factories.press(factories.person(Role.RISK_OFFICER), *exchanges, ago_s=0)
    requests = batch.requests.order_by("id")
    wait_for(lambda: set(requests.values_list("status", flat=True)) == {"CONFIRMED"}, seconds=30)
    wait_for(lambda: count(stack.simulator, exchanges) == 15, seconds=20)
    wait_for(lambda: REOPENED.count() == 5, seconds=ALARM_TIMEOUT_S)
    assert set(requests.values_list("reopened_orders", flat=True)) == {3}
    assert set(REOPENED.values_list("request_id", flat=True)) == {
        str(request.uuid) for request in requests
    }
    # An observer that takes over finds the same orders, and raises no second alarm.
    stack.running[-1].kill()
    stack.manage("observe")
    seen_at = Observation.objects.get().seen_at
    wait_for(lambda: Observation.objects.get().seen_at != seen_at, seconds=40)
    assert REOPENED.count() == 5


@pytest.mark.usefixtures("executor")
def test_what_stays_empty_is_looked_at_twice(
    simulator: Simulator, exchanges: list[Exchange]
) -> None:
    client = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=10)
    observer = Observer(client=client, second_looks=SecondLooks(after_s=(1, 2)))
    observer.keep_lease()
    assert observer.read()
    batch = factories.press(factories.person(Role.RISK_OFFICER), *exchanges, ago_s=0)
    request = carry_out(list(batch.requests.all()))
    assert request.status == Status.CONFIRMED
    ends_at = time.monotonic() + 3.5
    while time.monotonic() < ends_at:
        assert observer.read()
        time.sleep(0.2)
    looks = SecondLook.objects.order_by("request", "after_s")
    assert list(looks.values_list("after_s", "open_orders")) == [(1, 0), (2, 0)] * 5
    late = looks.filter(read_at__lt=F("request__finished_at"))
    assert not late.exists()
    assert not REOPENED.exists()
    assert not CancelRequest.objects.exclude(reopened_at=None).exists()
    client.close()
