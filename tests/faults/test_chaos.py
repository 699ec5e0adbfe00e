"""Many requests, random faults, and processes killed at random."""

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from killswitch.alarms.models import Alarm
from killswitch.cancels.models import CancelRequest
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.conftest import RedisProcess, wait_for
from tests.stack import Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

FAULTS: list[dict[str, Any]] = [
    {"cancel": []},
    {"cancel": [{"fault": "slow", "seconds": 1, "repeat": True}]},
    {"cancel": [{"fault": "silent", "carried_out": True, "repeat": True}]},
    {"cancel": [{"fault": "reset", "carried_out": True, "repeat": True}]},
    {"cancel": [{"fault": "close", "repeat": True}]},
    {"cancel": [{"fault": "half_body", "carried_out": True, "repeat": True}]},
    {"cancel": [{"fault": "server_error", "status": 502, "repeat": True}]},
    {"cancel": [{"fault": "partial", "leaves": 2, "repeat": True}]},
    {"cancel": [{"fault": "acknowledged_only", "repeat": True}]},
    {"cancel": [{"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "repeat": True}]},
    {"cancel": [{"fault": "reject", "reason": "INVALID_TYPE", "repeat": True}]},
    {"list": [{"fault": "server_error", "status": 500, "repeat": True}]},
]
CANCEL_DEADLINE_S = 8


@dataclass
class Chaos:
    """Keeps processes of each kind running and kills one of them from time to time."""

    stack: Stack
    redis: RedisProcess
    dice: random.Random
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        for name, start in self._kinds().items():
            self.running[name] = start()

    def kill_one(self) -> None:
        name = self.dice.choice([*self._kinds(), "redis"])
        if name == "redis":
            self.redis.kill()
            self.redis.start()
            return
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()
        self.running[name] = self._kinds()[name]()

    def _kinds(self) -> dict[str, Callable[[], subprocess.Popen[bytes]]]:
        return {
            "worker": self.stack.worker,
            "watchdog 1": self.stack.watchdog,
            "watchdog 2": self.stack.watchdog,
        }


def run_chaos(
    chaos: Chaos, simulator: Simulator, press: Press, *, presses: int, exchanges: int, kills: int
) -> list[CancelRequest]:
    names = [f"VENUE{number}" for number in range(exchanges)]
    for name in names:
        simulator.script(name, orders=4, **chaos.dice.choice(FAULTS))
    chaos.start()
    requests: list[CancelRequest] = []
    for _ in range(presses):
        requests += press(*names)
        for _ in range(kills // presses):
            time.sleep(chaos.dice.uniform(0.2, 1.2))
            chaos.kill_one()
    rows = CancelRequest.objects.filter(pk__in=[request.pk for request in requests])
    # After the last kill: a start, the time until a lease is stale, a request's own time, and the
    # takeover of all of them, of which two watchdogs on a busy machine manage about ten a second.
    takeovers_s = len(requests) / 5
    wait_for(
        lambda: not rows.in_flight().exists(), seconds=5 + 3 + CANCEL_DEADLINE_S + takeovers_s + 10
    )
    return list(rows)


def assert_every_outcome_is_true(requests: list[CancelRequest], simulator: Simulator) -> None:
    for request in requests:
        assert simulator.calls(request.exchange_id), f"{request} never reached the EMS"
        assert request.finished_at is not None
        has_alarm = Alarm.objects.filter(kind="OUTCOME", request_id=str(request.uuid)).exists()
        assert has_alarm == (request.status != "CONFIRMED")
        # No orders are added here, so an exchange that is confirmed stays empty.
        if request.status == "CONFIRMED":
            assert simulator.really_open(request.exchange_id) == 0
        if request.status == "RESIDUAL":
            assert request.open_after == simulator.really_open(request.exchange_id)
        if request.status == "REJECTED":
            assert simulator.really_open(request.exchange_id) == 4
        assert request.status != "NOT_DELIVERED"


def test_a_little_chaos(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    stack.set(EMS_TIMEOUT=2, CANCEL_DEADLINE=CANCEL_DEADLINE_S)
    chaos = Chaos(stack, own_redis, random.Random(7))
    requests = run_chaos(chaos, simulator, press, presses=2, exchanges=12, kills=4)
    assert len(requests) == 24
    assert_every_outcome_is_true(requests, simulator)


@pytest.mark.faults
@pytest.mark.timeout(300)
def test_two_hundred_requests_and_twenty_kills(
    stack: Stack, own_redis: RedisProcess, simulator: Simulator, press: Press
) -> None:
    stack.set(EMS_TIMEOUT=2, CANCEL_DEADLINE=CANCEL_DEADLINE_S)
    chaos = Chaos(stack, own_redis, random.Random(20))
    requests = run_chaos(chaos, simulator, press, presses=4, exchanges=50, kills=20)
    assert len(requests) == 200
    assert_every_outcome_is_true(requests, simulator)
