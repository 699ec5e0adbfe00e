"""A Hold keeps an exchange flat: on the real stack of one process, against the simulated EMS."""

import time

import pytest

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.verify import verify
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.holds.enforcement import Enforcer
from killswitch.holds.models import Episode, Hold
from killswitch.simulator.server import Simulator
from tests.conftest import wait_for
from tests.holds.conftest import HoldExchange

pytestmark = pytest.mark.both_databases


def test_orders_that_keep_coming_are_cancelled_in_one_episode(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    hold("KRAKEN")
    longest = 0.0
    ends_at = time.monotonic() + 6
    first_seen: dict[str, float] = {}
    while time.monotonic() < ends_at:
        simulator.place("KRAKEN", 2)
        for _ in range(6):
            now = time.monotonic()
            open_ids = set(simulator.open_ids("KRAKEN"))
            first_seen = {key: first_seen.get(key, now) for key in open_ids}
            longest = max([longest, *(now - since for since in first_seen.values())])
            time.sleep(0.05)
    wait_for(lambda: not simulator.open_ids("KRAKEN"), seconds=5)
    assert longest < 3
    print(longest, CancelRequest.objects.values_list("status", "attempt_count", "reads"))
    wait_for(lambda: CancelRequest.objects.get().is_final, seconds=20)
    request = CancelRequest.objects.get()
    assert request.status == Status.CONFIRMED
    episode = Episode.objects.get()
    print(vars(episode), vars(Hold.objects.get()))
    assert episode.orders_seen == episode.orders_cancelled > 10
    assert not Alarm.objects.exists()
    print(list(AuditEvent.objects.values_list("kind", flat=True)))
    assert verify().ok
