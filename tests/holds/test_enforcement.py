"""A Hold keeps an exchange flat: on the real stack of one process, against the simulated EMS."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import acknowledge
from killswitch.audit.actors import Actor
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import execution, watchdog
from killswitch.cancels import services as cancels
from killswitch.cancels.confirmation import Target
from killswitch.cancels.models import Attempt, CancelRequest, Origin
from killswitch.cancels.states import Status
from killswitch.ems.client import get_client
from killswitch.exchanges import registry
from killswitch.exchanges.models import Exchange
from killswitch.holds import services
from killswitch.holds.enforcement import Enforcer, remind_if_due
from killswitch.holds.models import Enforcement, Episode, Hold, HoldState
from killswitch.holds.recording import Sighting, begin_episode, begin_episodes
from killswitch.runtime.leases import RowLease
from killswitch.runtime.revisions import current
from killswitch.runtime.shutdown import STOP
from killswitch.simulator.server import Simulator
from tests.cancels.kills import LIST_GONE, always
from tests.clock import Clock
from tests.conftest import wait_for
from tests.holds.conftest import OLGA, PETER, HoldExchange

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@contextmanager
def algorithm(simulator: Simulator, *exchange_ids: str, interval_s: float = 0.3) -> Iterator[None]:
    """Place two orders again and again until the block ends."""
    stop = threading.Event()

    def trade() -> None:
        while not stop.wait(interval_s):
            for exchange_id in exchange_ids:
                simulator.place(exchange_id, 2)

    thread = threading.Thread(target=trade)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def requests() -> list[CancelRequest]:
    return list(CancelRequest.objects.order_by("id"))


def kinds(*wanted: EventKind) -> list[str]:
    events = AuditEvent.objects.filter(kind__in=wanted).order_by("seq")
    return list(events.values_list("kind", flat=True))


def test_orders_that_keep_coming_are_cancelled_in_one_episode(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    began_at = time.monotonic()
    row = hold("KRAKEN")
    with algorithm(simulator, "KRAKEN"):
        cancelled = Episode.objects.filter(orders_cancelled__gte=12)
        wait_for(cancelled.exists, seconds=30)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=5)
    wait_for(lambda: CancelRequest.objects.get().is_final, seconds=10)
    (request,) = requests()
    assert (request.status, request.batch.origin, request.batch.by) == ("CONFIRMED", "HOLD", None)
    episode, row = Episode.objects.get(), Hold.objects.get(pk=row.pk)
    assert (episode.number, episode.began_blind, row.episode_count) == (1, False, 1)
    assert episode.orders_seen == episode.orders_cancelled >= 12
    assert (row.orders_seen, row.orders_cancelled) == (episode.orders_seen,) * 2
    assert 0 < episode.longest_life_ms < (time.monotonic() - began_at) * 1000
    assert episode.symbols
    assert row.state == HoldState.ACTIVE
    assert kinds(EventKind.HOLD_STARTED, EventKind.REQUESTED, EventKind.HOLD_EPISODE) == [
        "HOLD_STARTED",
        "REQUESTED",
        "HOLD_EPISODE",
    ]
    assert not Alarm.objects.exists()


def test_an_exchange_that_is_flat_costs_no_post_and_no_request(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    row = hold("KRAKEN")
    wait_for(lambda: Hold.objects.get(pk=row.pk).last_read_at is not None, seconds=5)
    revision = Hold.objects.get(pk=row.pk).revision
    reads = len(simulator.calls("KRAKEN", "GET"))
    wait_for(lambda: len(simulator.calls("KRAKEN", "GET")) > reads + 5, seconds=5)
    assert simulator.calls("KRAKEN") == [] == requests()
    assert Hold.objects.get(pk=row.pk).revision == revision


def test_each_quiet_time_ends_an_episode_and_the_next_order_begins_another(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    hold("KRAKEN")
    for number in (1, 2):
        simulator.place("KRAKEN", 3)
        wait_for(Episode.objects.filter(number=number).exists, seconds=5)
        wait_for(lambda: all(request.is_final for request in requests()), seconds=10)
    assert [request.status for request in requests()] == ["CONFIRMED"] * 2
    assert list(Episode.objects.order_by("number").values_list("number", "orders_seen")) == [
        (1, 3),
        (2, 3),
    ]


def test_many_held_exchanges_are_read_with_one_list_of_all(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    names = [f"X{number}" for number in range(8)]
    for name in names:
        hold(name)
    wait_for(lambda: not Hold.objects.filter(last_read_at=None).exists(), seconds=5)
    for name in names:
        simulator.place(name, 1)
    wait_for(lambda: not any(map(simulator.really_open, names)), seconds=8)
    assert len(simulator.calls(None, "GET")) - sum(
        len(simulator.calls(name, "GET")) for name in names
    )


def test_when_the_list_of_all_cannot_be_used_held_exchanges_are_read_one_by_one(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    simulator.script("*", list=always("server_error", status=503))
    names = [f"X{number}" for number in range(6)]
    for name in names:
        hold(name)
    simulator.place("X3", 4)
    wait_for(lambda: simulator.really_open("X3") == 0, seconds=8)
    assert not Hold.objects.exclude(blind_since=None).exists()


@pytest.mark.parametrize("blind_after_s", [1.5])
@pytest.mark.parametrize(
    "fault", [LIST_GONE, always("silent"), always("unauthorised"), always("not_json")]
)
def test_a_blind_hold_is_an_alarm_and_sends_without_reading(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer, settings: Any, fault: Any
) -> None:
    settings.EMS_TIMEOUT = 1.0
    row = hold("KRAKEN")
    simulator.script("KRAKEN", list=fault, orders=2)
    wait_for(lambda: Alarm.objects.filter(kind=AlarmKind.HOLD_BLIND).exists(), seconds=8)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=8)
    row.refresh_from_db()
    assert row.blind_since
    assert row.read_error
    simulator.place("KRAKEN", 3)  # none of the lists shows them
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=10)
    assert Episode.objects.get().began_blind
    simulator.script("KRAKEN", list=[])
    wait_for(lambda: Hold.objects.get(pk=row.pk).blind_since is None, seconds=15)
    assert kinds(EventKind.HOLD_BLIND, EventKind.HOLD_SEES_AGAIN) == [
        "HOLD_BLIND",
        "HOLD_SEES_AGAIN",
    ]
    wait_for(lambda: requests()[-1].is_final, seconds=15)
    assert Alarm.objects.filter(kind=AlarmKind.HOLD_BLIND).count() == 1


@pytest.mark.parametrize(
    "fault",
    ["unauthorised", "bad_request", "server_error", {"fault": "reject", "reason": "OTHER"}],
    ids=str,
)
def test_an_ems_that_refuses_gets_one_request_an_episode_and_raises_one_alarm(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer, settings: Any, fault: Any
) -> None:
    settings.CANCEL_DEADLINE = 3
    fault = fault if isinstance(fault, dict) else {"fault": fault}
    simulator.script("KRAKEN", cancel=[{**fault, "repeat": True}], orders=2)
    hold("KRAKEN")
    wait_for(lambda: sum(request.is_final for request in requests()) == 3, seconds=25)
    simulator.script("KRAKEN", cancel=[])
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=10)
    wait_for(lambda: requests()[-1].status == Status.CONFIRMED, seconds=10)
    assert 4 <= len(requests()) <= 5
    assert Alarm.objects.filter(kind=AlarmKind.OUTCOME).count() == 1
    assert Attempt.objects.filter(request=requests()[0]).count() <= 5


def test_a_pause_that_the_ems_wants_is_kept(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    wait = {"fault": "too_many", "retry_after": "3"}
    simulator.script("KRAKEN", cancel=[wait, "ok"], orders=2)
    hold("KRAKEN")
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=10)
    first, second = simulator.calls("KRAKEN")
    assert 2.9 < second.received_monotonic - first.received_monotonic < 6
    wait_for(lambda: requests()[0].is_final, seconds=10)


@pytest.mark.parametrize("trading_after_s", [4.0])
def test_orders_that_keep_coming_are_one_alarm(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    hold("KRAKEN")
    trading = Alarm.objects.filter(kind=AlarmKind.HOLD_TRADING)
    with algorithm(simulator, "KRAKEN"):
        wait_for(trading.exists, seconds=12)
        time.sleep(1)
    assert trading.get().title == "KRAKEN: orders are still arriving under Hold."
    wait_for(lambda: requests()[-1].is_final, seconds=15)


def test_a_released_hold_sends_nothing_more(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    row = hold("KRAKEN")
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), orders=2)
    wait_for(lambda: len(simulator.calls("KRAKEN")) >= 2, seconds=8)
    services.request_release(row, act=OLGA, reason="over")
    services.confirm_release(row, act=PETER)
    wait_for(lambda: requests()[0].is_final, seconds=8)
    calls = len(simulator.calls("KRAKEN"))
    time.sleep(2)
    assert len(simulator.calls("KRAKEN")) == calls
    assert (len(requests()), requests()[0].status) == (1, "RESIDUAL")


def test_a_hold_goes_on_while_its_release_is_requested_and_when_it_is_disabled(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    row = hold("KRAKEN")
    services.request_release(row, act=OLGA, reason="over")
    Exchange.objects.update(enabled=False)
    simulator.place("KRAKEN", 2)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=8)
    wait_for(lambda: requests()[0].is_final, seconds=8)


def test_the_press_that_starts_a_hold_cancels_what_was_open_before(
    simulator: Simulator, enforced: Enforcer, executor: None
) -> None:
    registry.add_missing([registry.ExchangeConfig(exchange_id="KRAKEN")])
    simulator.script("KRAKEN", cancel=["acknowledged_only", "ok"], orders=5)
    result = cancels.request_cancel_from_command_line(
        target=Target(exchanges=tuple(Exchange.objects.all())),
        by=Actor(name="os:olga"),
        reason="",
        hold=True,
    )
    execution.run(ids=result.ids)
    wait_for(lambda: requests()[0].is_final, seconds=8)
    time.sleep(1)
    assert [request.batch.origin for request in requests()] == [Origin.COMMAND_LINE]
    row = Hold.objects.get()
    assert (row.batch, row.orders_seen) == (result.batch, 0)
    simulator.place("KRAKEN", 1)
    wait_for(lambda: Episode.objects.filter(orders_seen=1).exists(), seconds=5)
    wait_for(lambda: requests()[-1].is_final, seconds=8)


def test_an_episode_is_taken_over_when_its_process_is_gone(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    row = hold("KRAKEN")
    simulator.place("KRAKEN", 3)
    wait_for(lambda: Episode.objects.filter(orders_seen=3).exists(), seconds=5)
    # What is left behind by a process that was killed: a lease that is not renewed any more.
    episode = Episode.objects.get()
    wait_for(lambda: requests()[0].is_final, seconds=10)
    request_id = begin_episode(row.pk, orders=2)
    assert request_id
    CancelRequest.objects.filter(pk=request_id).update(
        status=Status.SENDING, lease_token="dead:1", first_claimed_at=episode.first_order_at
    )
    simulator.place("KRAKEN", 2)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=8)
    wait_for(lambda: CancelRequest.objects.get(pk=request_id).is_final, seconds=10)
    second = Episode.objects.get(request=request_id)
    assert (second.number, second.orders_seen, second.orders_cancelled) == (2, 2, 2)
    assert kinds(EventKind.TAKEN_OVER) == ["TAKEN_OVER"]


def test_one_process_enforces_and_the_next_one_takes_over(hold: HoldExchange) -> None:
    hold("KRAKEN")
    clock = Clock()
    first, second = (
        Enforcer(lease=RowLease(Enforcement.objects, stale_after_s=2.5, clock=clock), clock=clock)
        for _ in range(2)
    )
    assert first.keep_lease()
    assert not second.keep_lease()
    clock.now += 2.4
    assert not second.keep_lease()
    clock.now += 0.2
    assert second.keep_lease()
    assert not first.keep_lease()
    second.release_lease()
    assert first.keep_lease()


def test_without_a_hold_no_process_holds_the_lease(hold: HoldExchange) -> None:
    row = hold("KRAKEN")
    enforcer = Enforcer()
    assert enforcer.keep_lease()
    services.request_release(row, act=OLGA, reason="over")
    services.confirm_release(row, act=PETER)
    assert not enforcer.keep_lease()
    assert Enforcement.objects.get().lease_token == ""


def test_two_processes_begin_one_episode(hold: HoldExchange) -> None:
    row = hold("KRAKEN")
    barrier, ids = threading.Barrier(4), list[int | None]()

    def begin() -> None:
        try:
            barrier.wait(10)
            ids.append(begin_episode(row.pk, orders=1))
        finally:
            connection.close()

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(ids) == 4
    assert sum(pk is not None for pk in ids) == 1 == Episode.objects.count()


def test_a_reminder_comes_every_four_hours(hold: HoldExchange) -> None:
    reminders = Alarm.objects.filter(kind=AlarmKind.HOLD_REMINDER)
    hold("KRAKEN")
    hold("BINANCE")
    remind_if_due()
    assert not reminders.exists()
    Hold.objects.filter(exchange_id="KRAKEN").update(
        started_at=Hold.objects.get(exchange_id="KRAKEN").started_at - timedelta(hours=4, minutes=1)
    )
    remind_if_due()
    remind_if_due()
    assert reminders.count() == 1
    assert reminders.get().title.startswith("2 exchanges still held, the first since ")
    reminded_at = Enforcement.objects.get().reminded_at
    assert reminded_at
    Enforcement.objects.update(reminded_at=reminded_at - timedelta(hours=4))
    remind_if_due()
    assert reminders.count() == 2


def test_a_release_that_is_not_confirmed_lapses(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    row = hold("KRAKEN")
    row = services.request_release(row, act=OLGA, reason="over")
    assert row.release_requested_at
    Hold.objects.update(release_requested_at=row.release_requested_at - timedelta(minutes=16))
    wait_for(lambda: Hold.objects.get().state == HoldState.ACTIVE, seconds=5)
    assert kinds(EventKind.HOLD_RELEASE_LAPSED) == ["HOLD_RELEASE_LAPSED"]


def test_without_a_database_people_are_told_that_the_hold_is_not_enforced(
    simulator: Simulator, hold: HoldExchange, sink: Any, settings: Any, executor: None
) -> None:
    settings.ALERT_URLS = (sink.url(),)
    hold("KRAKEN")
    clock = Clock()
    enforcer = Enforcer(clock=clock)
    assert enforcer.keep_lease()
    enforcer.check()

    def gone(*_: Any) -> Any:
        raise OperationalError("the server closed the connection")

    with connection.execute_wrapper(gone):
        for seconds in (1.0, 3.0, 2.0, 30.0):
            clock.now += seconds
            with pytest.raises(OperationalError):
                enforcer.check()
    (title,) = sink.titles()
    assert "Hold is not being enforced: KRAKEN" in title
    enforcer.keep_lease()  # back again: the next time it is gone is another message
    with connection.execute_wrapper(gone):
        clock.now += 6
        with pytest.raises(OperationalError):
            enforcer.check()
    assert len(sink.received) == 2


def test_an_idle_process_asks_for_holds_with_one_query(
    django_assert_num_queries: Any, transactional_db: None
) -> None:
    enforcer = Enforcer()
    with django_assert_num_queries(1):
        enforcer.keep_lease()
        enforcer.read()
        enforcer.check()


def test_a_process_that_is_stopping_leaves_its_episode_to_another(
    simulator: Simulator, hold: HoldExchange, executor: None
) -> None:
    row = hold("KRAKEN")
    simulator.script("KRAKEN", cancel=always("acknowledged_only"), orders=1)
    request_id = begin_episode(row.pk, orders=1)
    assert request_id
    execution.run(ids=[request_id])
    wait_for(Attempt.objects.exists, seconds=5)
    STOP.set()
    wait_for(lambda: CancelRequest.objects.get().lease_token == "", seconds=5)
    STOP.clear()
    (snapshot,) = watchdog.snapshots(batch__origin=Origin.HOLD)
    assert snapshot.lease_token == ""
    execution.take_over_abandoned([snapshot])
    simulator.script("KRAKEN", cancel=[])
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=8)
    services.request_release(row, act=OLGA, reason="over")
    services.confirm_release(row, act=PETER)
    wait_for(lambda: CancelRequest.objects.get().is_final, seconds=8)


@contextmanager
def no_episode_of(hold_id: int) -> Iterator[None]:
    """Let the database refuse each episode of this Hold."""
    if connection.vendor == "sqlite":
        create = [
            "CREATE TRIGGER no_episode BEFORE INSERT ON holds_episode"
            f" WHEN NEW.hold_id = {hold_id} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ]
        drop = ["DROP TRIGGER no_episode"]
    else:
        create = [
            "CREATE FUNCTION no_episode() RETURNS trigger AS $$ BEGIN"
            f" IF NEW.hold_id = {hold_id} THEN RAISE EXCEPTION 'refused'; END IF;"
            " RETURN NEW; END $$ LANGUAGE plpgsql",
            "CREATE TRIGGER no_episode BEFORE INSERT ON holds_episode"
            " FOR EACH ROW EXECUTE FUNCTION no_episode()",
        ]
        drop = ["DROP TRIGGER no_episode ON holds_episode", "DROP FUNCTION no_episode"]
    with connection.cursor() as cursor:
        for statement in create:
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for statement in drop:
                cursor.execute(statement)


@pytest.mark.parametrize("blind_after_s", [1.5])
def test_a_hold_whose_episode_cannot_be_recorded_keeps_no_other_one_waiting(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    broken, _ = hold("AAA"), hold("BBB")
    wait_for(lambda: not Hold.objects.filter(last_read_at=None).exists(), seconds=5)
    blind = Alarm.objects.filter(kind=AlarmKind.HOLD_BLIND, exchange_id="AAA")
    with no_episode_of(broken.pk):
        simulator.place("AAA", 2)
        simulator.place("BBB", 2)
        wait_for(lambda: simulator.really_open("BBB") == 0, seconds=8)
        wait_for(blind.exists, seconds=10)
        assert "no cancel could be recorded" in blind.get().detail
        assert simulator.really_open("AAA") == 2
    wait_for(lambda: simulator.really_open("AAA") == 0, seconds=8)


@pytest.mark.parametrize("fault", [{"fault": "slow", "seconds": 3.7}, {"fault": "too_many"}])
def test_a_list_that_is_slow_or_limited_delays_no_other_one(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer, fault: dict[str, Any]
) -> None:
    simulator.script("SLOW", list=[{**fault, "repeat": True}])
    hold("SLOW")
    hold("KRAKEN")

    def reads(exchange_id: str) -> int:
        return len(simulator.calls(exchange_id, "GET"))

    wait_for(lambda: reads("SLOW") > 0, seconds=5)
    # Without orders there is no episode, which would read the list as well.
    wait_for(lambda: reads("KRAKEN") > 2 * reads("SLOW") + 2, seconds=30)
    simulator.place("KRAKEN", 1)
    wait_for(lambda: simulator.really_open("KRAKEN") == 0, seconds=10)
    kraken = CancelRequest.objects.filter(exchange_id="KRAKEN")
    wait_for(lambda: kraken.final().exists(), seconds=10)


def test_a_hold_that_was_released_before_its_episode_was_claimed_sends_nothing(
    simulator: Simulator, hold: HoldExchange, executor: None
) -> None:
    row = hold("KRAKEN")
    request_id = begin_episode(row.pk, orders=5)  # and then its process dies
    assert request_id
    services.request_release(row, act=OLGA, reason="over")
    services.confirm_release(row, act=PETER)
    simulator.place("KRAKEN", 5)
    get_client().open_orders()  # leaves a connection over which a cancel could be sent at once
    execution.run(ids=[request_id])
    wait_for(lambda: requests()[0].is_final, seconds=8)
    (request,) = requests()
    assert (request.status, request.conclusion) == (
        "NOT_DELIVERED",
        "The Hold was released before a cancel was sent.",
    )
    assert simulator.calls("KRAKEN") == []
    assert not Alarm.objects.exists()


@pytest.mark.parametrize("blind_after_s", [1.5])
def test_an_alarm_that_still_holds_is_raised_again_once_it_is_acknowledged(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer
) -> None:
    simulator.script("KRAKEN", list=LIST_GONE)
    hold("KRAKEN")
    blind = Alarm.objects.filter(kind=AlarmKind.HOLD_BLIND)
    wait_for(blind.exists, seconds=8)
    simulator.script("KRAKEN", list=[])
    wait_for(lambda: kinds(EventKind.HOLD_SEES_AGAIN) != [], seconds=15)
    simulator.script("KRAKEN", list=LIST_GONE)
    wait_for(lambda: len(kinds(EventKind.HOLD_BLIND)) == 2, seconds=15)
    assert blind.count() == 1
    acknowledge(alarm_id=blind.get().pk, actor=PETER.by)
    wait_for(lambda: blind.count() == 2, seconds=5)
    simulator.script("KRAKEN", list=[])
    wait_for(lambda: requests()[-1].is_final, seconds=15)


def test_episodes_of_many_exchanges_begin_in_one_transaction(
    hold: HoldExchange, django_assert_max_num_queries: Any
) -> None:
    rows = [hold(f"X{number}") for number in range(20)]
    before = current()
    with django_assert_max_num_queries(12 + 7 * len(rows)):
        ids = begin_episodes([Sighting(hold_id=row.pk, orders=1) for row in rows])
    assert len(ids) == len(rows)
    assert current() == before + 1


def test_orders_that_stay_from_one_episode_to_the_next_are_counted_once(
    simulator: Simulator, hold: HoldExchange, enforced: Enforcer, settings: Any
) -> None:
    settings.CANCEL_DEADLINE = 2
    simulator.script("KRAKEN", cancel=always("unauthorised"), orders=3)
    row = hold("KRAKEN")
    wait_for(lambda: sum(request.is_final for request in requests()) >= 3, seconds=20)
    row.refresh_from_db()
    assert (row.orders_seen, row.orders_cancelled) == (3, 0)
    lives_ms = Episode.objects.order_by("number").values_list("longest_life_ms", flat=True)
    assert lives_ms[2] > 4000
    simulator.script("KRAKEN", cancel=[])
    wait_for(lambda: requests()[-1].status == Status.CONFIRMED, seconds=15)
    row.refresh_from_db()
    assert (row.orders_seen, row.orders_cancelled) == (3, 3)
