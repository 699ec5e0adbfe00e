"""A held exchange stays flat while an algorithm trades on it, processes die and the EMS fails."""

import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from killswitch.alarms.models import Alarm
from killswitch.holds.models import Episode, Hold
from killswitch.runtime.heartbeats import Heartbeat
from killswitch.simulator.server import Simulator
from tests.conftest import wait_for
from tests.faults import held
from tests.faults.held import BUSY, MAX_LIFE_S
from tests.stack import Stack, database_url, stop_between_writes
from tests.supervision.system_process import MANAGE, System

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
]

NEW_REQUEST_S = 60  # the default CANCEL_DEADLINE


@pytest.fixture
def system(transactional_db: None, simulator: Simulator, tmp_path: Path) -> System:
    """Prepare, but do not start, the whole product on the test's database and EMS."""
    system = System(tmp_path)
    system.environment |= {
        "DATABASE_URL": database_url(),
        "EMS_BASE_URL": simulator.url,
        "SECRET_KEY": "only for the tests of a Hold " * 2,
    }
    return system


def test_an_algorithm_on_held_exchanges_does_not_get_past_the_death_of_the_enforcer(
    system: System, simulator: Simulator
) -> None:
    names = ["KRAKEN", "KRAKEN/JOHN"]
    with system:
        system.wait_until_it_serves()
        held.hold(*names)
        wait_for(held.are_enforced(*names), seconds=30)
        simulator.start_algorithm(names, duration_s=15)
        time.sleep(5)
        killed = next(
            process
            for process in system.main_processes().values()
            if process.pid == held.enforcing_pid()
        )
        kills = [time.monotonic()]
        killed.kill()
        wait_for_the_end(system, simulator, names)
        assert held.enforcing_pid() != killed.pid
        assert_nothing_lived_too_long(simulator, names, kills=kills, slack=BUSY)
        assert held.requests().count() <= 4
        assert_the_record_is_complete(system, simulator)


@pytest.mark.faults
@pytest.mark.timeout(500)
def test_three_minutes_of_an_algorithm_while_one_process_after_another_is_killed(
    system: System, simulator: Simulator
) -> None:
    names = ["KRAKEN", "KRAKEN/JOHN", "BINANCE"]
    kills = []
    with system:
        system.wait_until_it_serves()
        held.hold(*names)
        wait_for(held.are_enforced(*names), seconds=30)
        simulator.start_algorithm(names, duration_s=180)
        for role in ("observer", "worker", "watchdog", "web", "redis"):
            time.sleep(27)
            killed = system.main_processes()[role]
            kills.append(time.monotonic())
            killed.kill()
            wait_for(partial(runs_again, system, role, killed), seconds=20)
        wait_for_the_end(system, simulator, names)
        assert simulator.algorithm_report().placed == 3 * 5 * 600
        assert_nothing_lived_too_long(simulator, names, kills=kills)
        assert held.requests().count() == len(held.events("REQUESTED")) < 20
        trading = {key: count for key, count in held.alarms().items() if key[0] == "HOLD_TRADING"}
        assert trading == {("HOLD_TRADING", name): 1 for name in names}
        assert_the_record_is_complete(system, simulator)


def runs_again(system: System, role: str, killed: psutil.Process) -> bool:
    return system.main_processes().get(role, killed) != killed


def wait_for_the_end(system: System, simulator: Simulator, names: list[str]) -> None:
    """Wait until the algorithm has ended, and its last orders and the last episodes too."""
    wait_for(lambda: not simulator.algorithm_report().running, seconds=200)
    wait_for(lambda: simulator.algorithm_report().alive == 0, seconds=BUSY * MAX_LIFE_S + 2)
    wait_for(lambda: not held.requests().in_flight().exists(), seconds=NEW_REQUEST_S + 20)
    wait_for(lambda: len(held.events("HOLD_EPISODE")) == held.requests().count(), seconds=10)


def assert_nothing_lived_too_long(
    simulator: Simulator, names: list[str], *, kills: list[float], slack: float = 1
) -> None:
    takeover_s = slack * held.TAKEOVER_S
    seconds, life = held.longest_life_s(simulator, *names, kills=kills, takeover_s=takeover_s)
    after_kills = [life.placed_monotonic - kill for kill in kills] if life else []
    assert seconds <= slack * MAX_LIFE_S, (seconds, life, after_kills)


def assert_the_record_is_complete(system: System, simulator: Simulator) -> None:
    assert held.all_are_active()
    placed = simulator.algorithm_report().placed
    total_seen = sum(hold.orders_seen for hold in Hold.objects.all())
    total_cancelled = sum(hold.orders_cancelled for hold in Hold.objects.all())
    assert 0 < total_cancelled <= total_seen <= placed
    numbers = Episode.objects.order_by("hold", "number").values_list("hold", "number")
    assert list(numbers) == [
        (hold.pk, number)
        for hold in Hold.objects.order_by("pk")
        for number in range(1, hold.episode_count + 1)
    ]
    assert len(numbers) == held.requests().count()
    assert_the_log_verifies(system.environment)


def assert_the_log_verifies(environment: dict[str, str]) -> None:
    process = subprocess.run(
        [sys.executable, MANAGE, "verify_audit"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
@pytest.mark.parametrize(("first", "second"), [("watchdog", "observe"), ("observe", "watchdog")])
@pytest.mark.faults
def test_one_process_enforces_alone_when_the_other_is_gone_for_good(
    stack: Stack, simulator: Simulator, first: str, second: str, number: signal.Signals
) -> None:
    stack.set(CANCEL_DEADLINE=NEW_REQUEST_S)
    held.hold("KRAKEN")
    enforcing = stack.manage(first)
    wait_for(held.are_enforced("KRAKEN"), seconds=60)
    standing_by = stack.manage(second)
    wait_for(lambda: Heartbeat.objects.count() == 2, seconds=60)
    simulator.start_algorithm(["KRAKEN"], duration_s=30)
    time.sleep(5)
    assert held.enforcing_pid() == enforcing.pid
    kills = [time.monotonic()]
    if number == signal.SIGSTOP:
        stop_between_writes(enforcing)
    else:
        enforcing.send_signal(number)
    wait_for(lambda: not simulator.algorithm_report().running, seconds=40)
    wait_for(lambda: simulator.algorithm_report().alive == 0, seconds=BUSY * MAX_LIFE_S + 2)
    assert held.enforcing_pid() == standing_by.pid
    assert_nothing_lived_too_long(simulator, ["KRAKEN"], kills=kills)
    assert max(held.seconds_between_posts(simulator, "KRAKEN")) < held.TAKEOVER_S
    enforcing.send_signal(signal.SIGCONT)
    wait_for(lambda: not held.requests().in_flight().exists(), seconds=NEW_REQUEST_S + 20)
    assert held.requests().count() == len(held.events("HOLD_EPISODE")) == 1
    assert_the_log_verifies(stack.environment)


@pytest.mark.faults
def test_an_order_does_not_live_longer_where_one_episode_ends_and_the_next_begins(
    stack: Stack, simulator: Simulator
) -> None:
    names = ["KRAKEN", "KRAKEN/JOHN", "BINANCE"]
    stack.set(CANCEL_DEADLINE=8)
    held.hold(*names)
    stack.watchdog()
    wait_for(held.are_enforced(*names), seconds=60)
    simulator.start_algorithm(names, duration_s=30)
    wait_for(lambda: not simulator.algorithm_report().running, seconds=40)
    wait_for(lambda: simulator.algorithm_report().alive == 0, seconds=BUSY * MAX_LIFE_S + 2)
    assert held.requests().count() >= 3 * len(names)
    assert_nothing_lived_too_long(simulator, names, kills=[])


def test_a_hold_survives_a_stop_of_everything(system: System, simulator: Simulator) -> None:
    with system:
        system.wait_until_it_serves()
        held.hold("KRAKEN")
        wait_for(held.are_enforced("KRAKEN"), seconds=30)
        system.stop()
    simulator.place("KRAKEN", 5)
    time.sleep(2)
    assert simulator.really_open("KRAKEN") == 5
    earlier_pid = held.enforcing_pid()
    with system:
        wait_for(lambda: held.enforcing_pid() not in {None, earlier_pid}, seconds=120)
        wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=BUSY * MAX_LIFE_S)
        assert held.all_are_active()
        wait_for(lambda: not held.requests().in_flight().exists(), seconds=60)
        assert [request.status for request in held.requests()] == ["CONFIRMED"]


@pytest.mark.parametrize(
    ("process", "fault"),
    [
        ("watchdog", {"fault": "server_error", "status": 503, "repeat": True}),
        pytest.param("observe", {"fault": "silent", "repeat": True}, marks=pytest.mark.faults),
    ],
    ids=["watchdog, list fails", "observer, list hangs"],
)
def test_a_blind_hold_is_an_alarm_and_cancels_every_five_seconds(
    stack: Stack, simulator: Simulator, process: str, fault: dict[str, Any]
) -> None:
    stack.set(EMS_TIMEOUT=10, CANCEL_DEADLINE=NEW_REQUEST_S)
    held.hold("KRAKEN")
    stack.manage(process)
    wait_for(held.are_enforced("KRAKEN"), seconds=60)
    blinded_at, blinded_monotonic = datetime.now(UTC), time.monotonic()
    for name in ("KRAKEN", "*"):
        simulator.script(name, list=[fault])
    wait_for(lambda: Alarm.objects.filter(kind="HOLD_BLIND").exists(), seconds=12)
    raised_after = Alarm.objects.get(kind="HOLD_BLIND").raised_at - blinded_at
    # The last list may have been read up to a second before.
    assert timedelta(seconds=3.9) < raised_after < timedelta(seconds=10)
    simulator.place("KRAKEN", 3)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=8)
    time.sleep(max(0.0, blinded_monotonic + 20 - time.monotonic()))
    assert 3 <= len(simulator.calls("KRAKEN")) <= 5
    assert all(3.5 < gap < 7 for gap in held.seconds_between_posts(simulator, "KRAKEN"))
    assert Hold.objects.get().blind_since is not None
    assert not held.events("HOLD_SEES_AGAIN")

    for name in ("KRAKEN", "*"):
        simulator.script(name, list=[])
    # After lists could be read for 5 s; and a call that hangs is given up first.
    wait_for(lambda: len(held.events("HOLD_SEES_AGAIN")) == 1, seconds=15)
    assert Hold.objects.get().blind_since is None
    assert len(held.events("HOLD_BLIND")) == 1
    assert held.alarms()["HOLD_BLIND", "KRAKEN"] == 1
    assert len(held.requests()) == 1
    wait_for(lambda: not held.requests().in_flight().exists(), seconds=30)
    assert [request.status for request in held.requests()] == ["CONFIRMED"]


REFUSALS: dict[str, dict[str, Any]] = {
    "401": {"fault": "unauthorised"},
    "429": {"fault": "too_many", "retry_after": "3"},
    "500": {"fault": "server_error", "status": 500},
    "NOT_SUPPORTED": {"fault": "reject", "reason": "METHOD_NOT_SUPPORTED"},
}


@pytest.mark.faults
def test_an_ems_that_refuses_gets_one_request_a_deadline_and_obeys_in_the_end(
    stack: Stack, simulator: Simulator
) -> None:
    deadline_s, trading_s = 8, 45
    stack.set(EMS_TIMEOUT=2, CANCEL_DEADLINE=deadline_s)
    for name, refusal in REFUSALS.items():
        simulator.script(name, cancel=[{**refusal, "repeat": True}], orders=3)
    held.hold(*REFUSALS)
    stack.watchdog()
    wait_for(held.are_enforced(*REFUSALS), seconds=60)
    time.sleep(trading_s)
    for name in REFUSALS:
        assert 2 <= held.requests(name).count() <= trading_s // deadline_s + 2, name
        assert min(held.seconds_between_requests(name)) > deadline_s - 0.5, name
        assert simulator.really_open(name) == 3, name
        simulator.script(name, cancel=[])
    assert_one_alarm_of_each_kind(*REFUSALS)
    assert {name for kind, name in held.alarms() if kind == "HOLD_TRADING"} == set(REFUSALS)
    # A request that was refused for good has ended, and the next one begins at its deadline.
    wait_for(
        lambda: not any(simulator.really_open(name) for name in REFUSALS), seconds=deadline_s + 8
    )
    assert held.all_are_active()
    assert_one_alarm_of_each_kind(*REFUSALS)
    wait_for(lambda: not held.requests().in_flight().exists(), seconds=60)
    assert_the_log_verifies(stack.environment)


@pytest.mark.faults
def test_the_pause_that_the_ems_asks_for_is_kept_from_one_episode_to_the_next(
    stack: Stack, simulator: Simulator
) -> None:
    stack.set(EMS_TIMEOUT=2, CANCEL_DEADLINE=8)
    refusal = {"fault": "too_many", "retry_after": "3", "repeat": True}
    simulator.script("KRAKEN", cancel=[refusal], orders=3)
    held.hold("KRAKEN")
    stack.watchdog()
    wait_for(lambda: held.requests().count() == 3, seconds=90)
    wait_for(lambda: held.requests()[2].attempt_count > 1, seconds=20)
    assert min(held.seconds_between_posts(simulator, "KRAKEN")) > 2.5


@pytest.mark.faults
def test_an_ems_that_refuses_connections_is_cancelled_at_as_soon_as_it_accepts_them(
    stack: Stack, simulator: Simulator
) -> None:
    deadline_s, down_s = 8, 40
    stack.set(EMS_TIMEOUT=2, CANCEL_DEADLINE=deadline_s)
    held.hold("KRAKEN")
    stack.watchdog()
    wait_for(held.are_enforced("KRAKEN"), seconds=60)
    port = int(simulator.url.rpartition(":")[2])
    simulator.stop()
    simulator.place("KRAKEN", 3)
    time.sleep(down_s)
    assert simulator.calls("KRAKEN") == []
    assert 1 <= held.requests().count() <= down_s // deadline_s + 1
    assert all(gap > deadline_s - 0.5 for gap in held.seconds_between_requests("KRAKEN"))
    simulator.start(port)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=deadline_s)
    wait_for(lambda: len(held.events("HOLD_SEES_AGAIN")) == 1, seconds=15)
    assert ("HOLD_BLIND", "KRAKEN") in held.alarms()
    assert_one_alarm_of_each_kind("KRAKEN")
    assert held.all_are_active()
    wait_for(lambda: not held.requests().in_flight().exists(), seconds=60)
    assert_the_log_verifies(stack.environment)


def assert_one_alarm_of_each_kind(*names: str) -> None:
    counts = held.alarms()
    assert all(count == 1 for count in counts.values()), counts
    assert {name for _, name in counts} <= set(names)
