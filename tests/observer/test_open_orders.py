"""What the observer writes down, and what it leaves alone."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.db import Error, connection, transaction

from killswitch.accounts.models import Role, User
from killswitch.cancels.states import Status
from killswitch.console import grid
from killswitch.ems.client import EmsClient
from killswitch.exchanges import services
from killswitch.exchanges.models import Exchange, Observation, UncoveredExchange
from killswitch.observer.open_orders import Observer, ObserverLease
from killswitch.runtime.revisions import current, next_revision
from killswitch.simulator.server import Simulator
from tests import factories
from tests.clock import Clock
from tests.conftest import wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ems(simulator: Simulator) -> Iterator[EmsClient]:
    client = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=10)
    yield client
    client.close()


@pytest.fixture
def olga() -> User:
    return factories.person(Role.RISK_OFFICER)


def observation() -> Observation:
    return Observation.objects.get()


def kill_reads_none(exchange: Exchange, *, at: datetime) -> None:
    with transaction.atomic():
        services.record_open_orders(
            exchange.pk, open_orders=0, read_at=at, revision=next_revision()
        )


def test_one_unfiltered_call_counts_the_orders_of_all(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    assert observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.open_orders, binance.open_orders) == (3, 0)
    assert kraken.seen_at == binance.seen_at == observation().seen_at is not None
    calls = simulator.calls(method="GET")
    assert len(calls) == 1
    assert not calls[0].query


def test_a_tagged_account_counts_for_itself_alone(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    john = Exchange.objects.create(exchange_id="KRAKEN/JOHN")
    simulator.place("KRAKEN/JOHN", 2)
    observer.read()
    kraken.refresh_from_db()
    john.refresh_from_db()
    assert (kraken.open_orders, john.open_orders) == (0, 2)


def test_only_a_changed_count_is_a_visible_change(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 1)
    observer.read()
    before = {e.exchange_id: e.revision for e in Exchange.objects.all()}
    seen = observation().seen_at
    simulator.place("KRAKEN", 1)
    observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert kraken.revision == current() > before["KRAKEN"]
    assert binance.revision == before["BINANCE"]
    assert seen is not None
    assert binance.seen_at is not None
    assert binance.seen_at > seen


def test_seeing_the_same_again_is_no_visible_change(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    simulator.place("KRAKEN", 1)
    simulator.place("OKEX", 1)
    observer.read()
    revision, seen = current(), observation().seen_at
    observer.read()
    assert current() == revision
    assert seen is not None
    assert (observation().seen_at or seen) > seen


def test_what_a_kill_has_read_stands_until_the_next_look(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    observer.read()
    read_at = datetime.now(UTC)
    kill_reads_none(kraken, at=read_at)
    kraken.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at, kraken.revision) == (0, read_at, current())
    observer.read()
    kraken.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at) == (3, observation().seen_at)
    assert kraken.revision == current()


def test_the_same_figure_as_a_kill_has_read_gets_the_age_of_the_look_again(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    observer.read()
    kill_reads_none(kraken, at=datetime.now(UTC))
    noted = current()
    observer.read()
    revision = current()
    assert revision > noted, "an open page learns that the figure has an age of its own no more"
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert kraken.revision == revision > binance.revision
    assert kraken.seen_at == binance.seen_at == observation().seen_at
    observer.read()
    assert current() == revision


def test_what_a_kill_reads_during_a_look_is_newer_than_the_look(
    observer: Observer, ems: EmsClient, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    simulator.place("BINANCE", 2)
    orders = ems.open_orders()
    before = dict(Exchange.objects.values_list("pk", "seen_at"))
    read_at = datetime.now(UTC)
    kill_reads_none(kraken, at=read_at)
    assert observer.write(orders, seen_before=before)
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at) == (0, read_at)
    assert binance.open_orders == 2


def locked(exchange: Exchange, release: threading.Event, is_locked: threading.Event) -> None:
    """Hold the row, as another writer does, so that a request cannot write its figure."""
    try:
        with transaction.atomic():
            Exchange.objects.select_for_update(no_key=True).get(pk=exchange.pk)
            is_locked.set()
            release.wait(20)
    finally:
        connection.close()


@pytest.mark.parametrize("obstacle", ["a clock that is ahead", "a row that is locked"])
def test_a_look_from_before_an_outcome_never_counts_as_orders_open_again(
    observer: Observer, simulator: Simulator, kraken: Exchange, olga: User, obstacle: str
) -> None:
    Exchange.objects.create(exchange_id="BINANCE")
    simulator.place("KRAKEN", 3)
    observer.read()
    if obstacle == "a clock that is ahead":
        Exchange.objects.update(seen_at=datetime.now(UTC) + timedelta(hours=1))
        Observation.objects.update(seen_at=datetime.now(UTC) + timedelta(hours=1))
    request = factories.press(olga, Exchange.objects.get(pk=kraken.pk)).requests.get()
    simulator.place("KRAKEN", 1)
    simulator.place("BINANCE", 2)
    before = dict(Exchange.objects.values_list("pk", "seen_at"))
    known = current()
    orders = observer._client.open_orders()
    release, is_locked = threading.Event(), threading.Event()
    thread = threading.Thread(target=locked, args=[kraken, release, is_locked])
    if obstacle == "a row that is locked" and connection.vendor == "postgresql":
        thread.start()
        assert is_locked.wait(10)
    factories.bring(request, Status.CONFIRMED)
    release.set()
    if thread.ident:
        thread.join(20)
    assert observer.write(orders, seen_before=before, known=known)
    rows = {row.exchange.exchange_id: row for row in grid.rows(observed_at=None)}
    assert not rows["KRAKEN"].has_new_orders
    assert rows["BINANCE"].exchange.open_orders == 2
    # A look that begins after the outcome counts.
    assert observer.read()
    rows = {row.exchange.exchange_id: row for row in grid.rows(observed_at=None)}
    assert rows["KRAKEN"].exchange.open_orders == 4
    assert rows["KRAKEN"].has_new_orders


def test_an_older_reading_is_not_noted(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    read_at = datetime.now(UTC)
    observer.read()
    kill_reads_none(kraken, at=read_at)
    kraken.refresh_from_db()
    assert kraken.open_orders == 3


def test_orders_that_nobody_here_can_cancel_are_shown(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    Exchange.objects.filter(pk=binance.pk).update(enabled=False)
    for exchange_id, count in {"KRAKEN": 1, "BINANCE": 2, "OKEX": 3}.items():
        simulator.place(exchange_id, count)
    observer.read()
    stored = UncoveredExchange.objects.values_list("exchange_id", "open_orders")
    assert dict(stored) == {"BINANCE": 2, "OKEX": 3}
    assert observation().revision == current()
    binance.refresh_from_db()
    assert binance.open_orders == 2


def test_an_id_that_is_covered_again_is_no_longer_shown_and_the_others_stay(
    observer: Observer, simulator: Simulator
) -> None:
    simulator.place("OKEX", 3)
    simulator.place("BITMEX", 1)
    observer.read()
    row, revision = UncoveredExchange.objects.get(exchange_id="BITMEX"), observation().revision
    Exchange.objects.create(exchange_id="OKEX")
    observer.read()
    assert UncoveredExchange.objects.get() == row
    assert observation().revision > revision


@pytest.mark.parametrize(
    ("fault", "said"), [("server_error", "HTTP 500"), ("not_json", "JSON"), ("unauthorised", "401")]
)
def test_an_unreadable_answer_leaves_the_figures_to_become_stale(
    observer: Observer, simulator: Simulator, kraken: Exchange, fault: str, said: str
) -> None:
    simulator.place("KRAKEN", 5)
    observer.read()
    kraken.refresh_from_db()
    seen, revision = kraken.seen_at, kraken.revision
    for name in ("*", "KRAKEN"):
        simulator.script(name, list=[{"fault": fault, "repeat": True}])
    observer.read()
    failed = current()
    observer.read()
    kraken.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at, kraken.revision) == (5, seen, revision)
    assert observation().seen_at == seen
    assert said in observation().error
    assert observation().revision == failed == current()


ODD_ROWS = '[{"status":"NEW"},{"status":"NEW","avg_px":NaN},{"exchange_id":"KRAKEN","price":01}]'


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "raw", "body": ODD_ROWS},
        {"fault": "raw", "body": "[]", "headers": {"X-Total-Count": "905"}},
        {"fault": "reject", "reason": "EXCHANGE_UNREACHABLE", "status": 490},
        {"fault": "bad_request"},
    ],
)
def test_when_the_list_of_all_proves_nothing_exchanges_are_read_one_by_one(
    observer: Observer,
    simulator: Simulator,
    kraken: Exchange,
    binance: Exchange,
    fault: dict[str, object],
) -> None:
    simulator.place("KRAKEN", 900)
    simulator.place("BINANCE", 5)
    simulator.script("*", list=[{**fault, "repeat": True}])
    assert observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.open_orders, binance.open_orders) == (900, 5)
    assert kraken.seen_at == binance.seen_at == observation().seen_at is not None
    assert observation().error.startswith("the list of all exchanges cannot be used (")
    simulator.script("*", list=[])
    observer.read()
    assert observation().error == ""


def test_an_exchange_that_cannot_be_read_alone_keeps_its_figure_and_its_age(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    observer.read()
    seen_at = observation().seen_at
    simulator.place("BINANCE", 7)
    simulator.script("*", list=[{"fault": "raw", "body": ODD_ROWS, "repeat": True}])
    simulator.script("KRAKEN", list=[{"fault": "raw", "body": "[5]", "repeat": True}])
    observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at) == (3, seen_at)
    assert binance.open_orders == 7
    assert binance.seen_at is not None
    assert seen_at is not None
    assert binance.seen_at > seen_at == observation().seen_at


@pytest.mark.parametrize("fault", ["unauthorised", "forbidden", "too_many", "server_error"])
def test_a_refused_key_or_a_failing_ems_is_not_asked_for_each_exchange(
    observer: Observer, simulator: Simulator, kraken: Exchange, fault: str
) -> None:
    simulator.script("*", list=[{"fault": fault, "repeat": True}])
    observer.read()
    assert len(simulator.calls(method="GET")) == 1


def test_one_page_of_an_exchanges_own_list_is_no_figure(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    simulator.place("KRAKEN", 50)
    page = {
        "fault": "raw",
        "body": '[{"exchange_id":"KRAKEN","status":"NEW"}]',
        "headers": {"X-Total-Count": "50"},
        "repeat": True,
    }
    for name in ("*", "KRAKEN"):
        simulator.script(name, list=[page])
    observer.read()
    kraken.refresh_from_db()
    assert (kraken.open_orders, kraken.seen_at) == (None, None)


def test_orders_that_cannot_be_cancelled_here_are_shown_from_a_list_with_an_odd_row(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    UncoveredExchange.objects.create(exchange_id="LMAX", open_orders=1)
    rows = '[{"status":"NEW"},{"exchange_id":"DERIBIT","status":"NEW"}]'
    simulator.script("*", list=[{"fault": "raw", "body": rows}])
    observer.read()
    uncovered = UncoveredExchange.objects.values_list("exchange_id", "open_orders")
    assert set(uncovered) == {("DERIBIT", 1), ("LMAX", 1)}


def test_another_spelling_of_the_id_is_not_zero_orders(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    rows = '[{"exchange_id":"kraken","status":"NEW"}]'
    simulator.script("*", list=[{"fault": "raw", "body": rows}])
    observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.open_orders, binance.open_orders) == (None, 0)
    assert UncoveredExchange.objects.get().exchange_id == "kraken"


def test_exchanges_are_not_read_one_by_one_at_every_look(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    Exchange.objects.create(exchange_id="GONE", enabled=False)
    simulator.script("*", list=[{"fault": "raw", "body": ODD_ROWS, "repeat": True}])
    for _ in range(4):
        observer.read()
    exchanges = [call.exchange_id for call in simulator.calls(method="GET")]
    assert exchanges == [None, "KRAKEN", None, None, None]
    revision = current()
    observer.read()
    assert current() == revision, "the same trouble is no news"


def test_the_first_time_that_an_exchange_is_listed_is_kept(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    observer.read()
    simulator.place("KRAKEN", 1)
    observer.read()
    first_seen_at = observation().seen_at
    simulator.script("KRAKEN", orders=2)
    observer.read()
    kraken.refresh_from_db()
    binance.refresh_from_db()
    assert (kraken.first_listed_at, binance.first_listed_at) == (first_seen_at, None)


def test_a_readable_answer_clears_the_error(observer: Observer, simulator: Simulator) -> None:
    simulator.script("*", list=["server_error"])
    observer.read()
    failed = observation()
    assert failed.error
    observer.read()
    assert observation().error == ""
    assert observation().revision > failed.revision


def test_the_twenty_thousand_orders_of_a_runaway_algorithm_are_counted(
    ems: EmsClient, simulator: Simulator, kraken: Exchange
) -> None:
    ems.close()
    patient = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=30)
    observer = Observer(client=patient)
    observer.keep_lease()
    simulator.place("KRAKEN", 20_000)
    observer.read()
    kraken.refresh_from_db()
    assert kraken.open_orders == 20_000
    patient.close()


def test_hundreds_of_exchanges_change_in_one_look(observer: Observer, simulator: Simulator) -> None:
    Exchange.objects.bulk_create(Exchange(exchange_id=f"X{n}") for n in range(300))
    for number in range(300):
        simulator.place(f"X{number}", 1 + number % 3)
    observer.read()
    stored = dict(Exchange.objects.values_list("exchange_id", "open_orders"))
    assert stored == {f"X{n}": 1 + n % 3 for n in range(300)}


def test_no_connection_is_kept_while_the_ems_is_asked(
    observer: Observer, simulator: Simulator, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    really = EmsClient.open_orders

    def spy(self: EmsClient) -> object:
        asked.append(connection.connection is None)
        return really(self)

    monkeypatch.setattr(EmsClient, "open_orders", spy)
    observer.read()
    assert asked == [True]


def test_only_one_observer_asks(ems: EmsClient, simulator: Simulator, observer: Observer) -> None:
    second = Observer(client=ems)
    assert not second.keep_lease()
    assert second.read() is None
    assert simulator.calls(method="GET") == []


def test_the_seat_of_a_dead_observer_is_taken_after_the_patience() -> None:
    clock = Clock()
    dead, heir = ObserverLease(clock=clock), ObserverLease(clock=clock)
    assert dead.hold()
    assert not heir.hold()
    clock.now += 4.9
    assert not heir.hold()
    clock.now += 0.2
    assert heir.hold()
    assert not dead.fence()


def test_a_seat_whose_counter_moves_is_left_alone_for_ever() -> None:
    clock = Clock()
    alive, other = ObserverLease(clock=clock), ObserverLease(clock=clock)
    for _ in range(20):
        assert alive.hold()
        assert not other.hold()
        clock.now += 4.0


def test_an_observer_that_leaves_is_followed_at_once() -> None:
    first, second = ObserverLease(clock=Clock()), ObserverLease(clock=Clock())
    assert first.hold()
    first.release()
    assert second.hold()
    assert not first.hold()


def test_a_seat_that_was_taken_since_it_was_looked_at_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = ObserverLease(), ObserverLease()
    as_it_was = second._current()
    assert first.hold()
    monkeypatch.setattr(second, "_current", lambda: as_it_was)
    assert not second.hold()
    assert first.fence()


def test_of_many_that_reach_for_a_free_seat_one_gets_it() -> None:
    for _ in range(5):
        Observation.objects.all().delete()
        together, got = threading.Barrier(5), list[bool]()

        def reach(together: threading.Barrier = together, got: list[bool] = got) -> None:
            try:
                together.wait(10)
                got.append(ObserverLease().hold())
            finally:
                connection.close()

        threads = [threading.Thread(target=reach) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(got) == [False] * 4 + [True]


def test_an_observer_that_was_stopped_during_its_call_overwrites_nothing(
    ems: EmsClient, simulator: Simulator, kraken: Exchange
) -> None:
    clock = Clock()
    paused = Observer(client=ems, lease=ObserverLease(clock=clock))
    heir = Observer(client=ems, lease=ObserverLease(clock=clock))
    paused.keep_lease()
    heir.keep_lease()
    simulator.place("KRAKEN", 7)
    clock.now += 6
    assert heir.keep_lease()
    heir.read()
    simulator.place("KRAKEN", 1)
    assert paused.is_active  # it does not know yet
    assert paused.read() is None
    kraken.refresh_from_db()
    assert kraken.open_orders == 7


def test_a_lost_database_makes_it_inactive_until_it_is_back(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: ObserverLease) -> bool:
        raise Error("gone")

    with monkeypatch.context() as patch:
        patch.setattr(ObserverLease, "hold", gone)
        with pytest.raises(Error):
            observer.keep_lease()
        assert not observer.is_active
    assert observer.keep_lease()
    wait_for(lambda: observer.read() is not None, seconds=5)
