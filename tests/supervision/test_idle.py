"""What an idle system reads and writes, counted: nothing changes, and nobody is signed in."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from killswitch.alarms.models import Alarm
from killswitch.alarms.outbox import OutboxSender
from killswitch.alarms.services import acknowledge
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.cancels import watchdog
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.watchdog import StallDetector
from killswitch.ems.client import EmsClient, forget_client
from killswitch.exchanges.models import Exchange
from killswitch.holds.enforcement import Enforcer
from killswitch.observer import canary, ems_reach
from killswitch.observer.open_orders import Observer
from killswitch.readiness import counters
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.models import Canary
from killswitch.readiness.watch import ReadinessWatch
from killswitch.runtime import heartbeats
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.revisions import current
from killswitch.simulator.server import Simulator
from tests.alarms.conftest import alarm
from tests.cancels.conftest import Press, press
from tests.conftest import RedisProcess
from tests.holds.conftest import HoldExchange, hold
from tests.readiness.conftest import broker

__all__ = ["alarm", "broker", "hold", "press"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

TIMES = 10
WRITE = re.compile(r"INSERT|UPDATE|DELETE")


@dataclass(frozen=True)
class Counts:
    """What a task does each time, on average."""

    transactions: float
    statements: float
    flushes: float = 0.0  # transactions that write and wait for the disk


def count(work: Callable[[], object]) -> Counts:
    """Repeat the work while nothing changes."""
    work()  # the first time may find something
    with CaptureQueriesContext(connection) as captured:
        for _ in range(TIMES):
            work()
    transactions: list[list[str]] = []
    is_open = False
    waits_for_disk = True
    flushes = 0
    for text in (query["sql"] for query in captured):
        if text.startswith("PRAGMA synchronous"):
            waits_for_disk = text.endswith("FULL")
        elif "synchronous_commit TO OFF" in text:
            waits_for_disk = False
        elif text.startswith("BEGIN"):
            is_open = True
            transactions.append([])
        elif text.startswith("COMMIT"):
            flushes += waits_for_disk and any(map(WRITE.match, transactions[-1]))
            is_open, waits_for_disk = False, True
        elif is_open:
            transactions[-1].append(text)
        else:
            transactions.append([text])
            flushes += bool(WRITE.match(text))
    return Counts(
        transactions=len(transactions) / TIMES,
        statements=sum(map(len, transactions)) / TIMES,
        flushes=flushes / TIMES,
    )


@pytest.fixture
def observer(simulator: Simulator) -> Iterator[Observer]:
    """An active observer of six exchanges that have been read once."""
    for number in range(6):
        Exchange.objects.create(exchange_id=f"VENUE{number}")
        simulator.place(f"VENUE{number}", number)
    client = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=10)
    observer = Observer(client=client)
    assert observer.keep_lease()
    assert observer.read()
    yield observer
    client.close()


def test_an_idle_watchdog_reads_one_number() -> None:
    detector, gate = StallDetector(), watchdog.new_gate()
    assert count(lambda: watchdog.check_if_due(detector, gate)) == Counts(1, 1)


def test_an_idle_watchdog_sees_a_request_at_its_next_check(press: Press) -> None:
    detector, gate = StallDetector(), watchdog.new_gate()
    for _ in range(3):
        watchdog.check_if_due(detector, gate)
    [request] = press("KRAKEN")
    watchdog.check_if_due(detector, gate)
    assert detector.progress(request.pk) == "REQUESTED 0"


@pytest.mark.parametrize("change", ["press", "alarm", "hold"])
def test_whatever_an_idle_process_waits_for_raises_the_revision(
    change: str, press: Press, alarm: Callable[..., Alarm], hold: HoldExchange
) -> None:
    before = current()
    changes: dict[str, Callable[[], object]] = {
        "press": lambda: press("KRAKEN"),
        "alarm": alarm,
        "hold": hold,
    }
    changes[change]()
    assert current() > before


def test_nothing_waits_to_be_sent_once_every_alarm_is_acknowledged(
    alarm: Callable[..., Alarm],
) -> None:
    sender = OutboxSender()
    assert sender.send_due()
    raised = alarm()
    assert not sender.send_due()  # it becomes overdue
    acknowledge(alarm_id=raised.pk, actor=Actor(name="Olga Ray (olga)", role="Risk officer"))
    assert sender.send_due()


def test_without_a_hold_its_enforcement_is_one_query() -> None:
    assert count(Enforcer().keep_lease) == Counts(1, 1)


def test_a_heartbeat_is_one_transaction_that_does_not_wait_for_the_disk() -> None:
    assert count(lambda: heartbeats.beat_without_flush(Process.WORKER)) == Counts(1, 1)


def test_a_read_that_shows_nothing_new_is_one_transaction_to_write(observer: Observer) -> None:
    counts = count(observer.read)
    assert (counts.transactions, counts.statements) == (2, 10)  # the first one reads
    # SQLite cannot decide at the end of a transaction that it need not wait.
    assert counts.flushes == (1 if connection.vendor == "sqlite" else 0)


def test_a_figure_that_changes_waits_for_the_disk(observer: Observer, simulator: Simulator) -> None:
    def read() -> None:
        simulator.place("VENUE0", 1)
        observer.read()

    assert count(read).flushes == 1


def test_a_read_renews_the_lease_and_is_a_heartbeat(observer: Observer) -> None:
    assert not observer.must_renew
    with CaptureQueriesContext(connection) as captured:
        observer.read()
    texts = " ".join(query["sql"] for query in captured)
    assert texts.count('UPDATE "readiness_heart"') == 1
    assert texts.count('"counter" + 1') == 1
    assert heartbeats.age_here(Process.OBSERVER).within(2)


def test_a_canary_is_one_transaction_on_its_way_and_one_back(broker: RedisProcess) -> None:
    client = broker.client()

    def send() -> None:
        canary.send()
        client.delete("cancel")  # as a worker takes it

    assert count(send) == Counts(1, 2)
    nonce = Canary.objects.get().nonce
    assert count(lambda: canary.record_round_trip(nonce)) == Counts(1, 2)
    client.close()


def test_a_test_of_the_way_to_the_ems_is_one_transaction_that_does_not_wait_for_the_disk(
    simulator: Simulator, settings: Any
) -> None:
    settings.EMS_BASE_URL = simulator.url
    forget_client()
    assert count(lambda: ems_reach.probe(Process.WORKER)) == Counts(2, 2)  # the first one reads
    forget_client()


def test_judging_the_readiness_writes_nothing_that_stays(unpublished: None) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    watch = ReadinessWatch(evaluate=partial(evaluate, beats=False))
    assert count(watch.step).flushes == 0
    assert not CancelRequest.objects.exists()


def test_counting_for_the_metrics_writes_nothing_while_nothing_happens() -> None:
    with recording() as record:
        record.event(EventKind.STARTED)
    assert count(counters.store) == Counts(2, 2)
