"""Which orders and counts the observer keeps of each exchange, and how seldom it writes them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from json import dumps
from typing import Any

import pytest
from django.db import Error, connection
from django.test.utils import CaptureQueriesContext

from killswitch.console.exchange_page import OrdersOfExchange, find
from killswitch.ems.client import EmsClient
from killswitch.exchanges.models import Exchange, OpenOrderList, OpenOrderSample
from killswitch.observer.open_orders import Observer, ObserverLease
from killswitch.observer.order_lists import KeptOrders, OrderLists
from killswitch.runtime.revisions import current
from killswitch.simulator.server import Simulator
from tests.clock import Clock
from tests.conftest import wait_for
from tests.observer.test_open_orders import ODD_ROWS, kill_reads_none

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
# Of one read that finds nothing new: the statements of the figures, which is all that it needs.
STATEMENTS_OF_AN_IDLE_READ = 12  # of which one asks for requests that need a second look


@pytest.fixture
def ems(simulator: Simulator) -> Iterator[EmsClient]:
    client = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=10)
    yield client
    client.close()


def look(observer: Observer, *, now: datetime | None = None) -> None:
    """Read and write once, as the observer's thread does."""
    assert observer.read()
    observer.order_lists.write(now=now or datetime.now(UTC))


def early_in_a_minute() -> bool:
    """Return whether the minute will not end while a test reads a few times."""
    return datetime.now(UTC).second < 55


def stored(exchange: Exchange) -> OrdersOfExchange:
    row = find(exchange.pk)
    assert row is not None
    return OrdersOfExchange.of(row)


def row(number: int = 1, exchange_id: str | None = "KRAKEN", **fields: Any) -> dict[str, Any]:
    """Return an order as the EMS lists it."""
    return {
        "exchange_id": exchange_id,
        "client_order_id": f"c{number}",
        "symbol_id_coinapi": "KRAKEN_SPOT_BTC_USD",
        "side": "BUY",
        "amount_open": 1,
        "status": "NEW",
    } | fields


def lists(simulator: Simulator, *rows: object, name: str = "*") -> None:
    """Let the EMS answer with these rows until further notice."""
    simulator.script(name, list=[{"fault": "raw", "body": dumps(rows), "repeat": True}])


def test_the_orders_of_each_exchange_are_kept(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    lists(
        simulator,
        row(1, price="0.10", exchange_order_id="e1"),
        row(2, "BINANCE", side="SELL", status="PARTIALLY_FILLED"),
        row(3, status="FILLED"),
    )
    look(observer)
    kraken.refresh_from_db()
    (order,) = stored(kraken).orders
    assert (order.symbol, order.side, order.price) == ("KRAKEN_SPOT_BTC_USD", "BUY", "0.10")
    assert (order.client_order_id, order.exchange_order_id) == ("c1", "e1")
    assert order.first_seen_at == stored(kraken).read_at == kraken.seen_at
    assert [order.status for order in stored(binance).orders] == ["PARTIALLY_FILLED"]


def test_a_runaway_list_is_kept_in_part_and_counted_whole(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.place("KRAKEN", 1_500)
    simulator.place("BINANCE", 2)
    look(observer)
    orders = stored(kraken)
    assert (len(orders.orders), orders.total, orders.not_kept) == (100, 1_500, 1_400)
    assert (len(stored(binance).orders), stored(binance).not_kept) == (2, 0)


def test_only_a_change_is_written_and_raises_a_revision(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    lists(simulator, row(1), row(2), row(3, "BINANCE"))
    look(observer)
    written = {each.pk: (each.revision, each.read_at) for each in OpenOrderList.objects.all()}
    revision = current()
    lists(simulator, row(2), row(3, "BINANCE"), row(1))  # the same ones in another order
    look(observer)
    assert current() == revision
    lists(simulator, row(1), row(4), row(3, "BINANCE"))  # another one, and as many
    look(observer)
    now = {each.pk: (each.revision, each.read_at) for each in OpenOrderList.objects.all()}
    assert now[binance.pk] == written[binance.pk]
    assert now[kraken.pk][0] == current() > revision
    kraken.refresh_from_db()
    assert kraken.revision <= revision, "its figure is the same"


def test_an_idle_read_takes_no_more_statements_than_its_figures(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    wait_for(early_in_a_minute, seconds=10)
    simulator.place("KRAKEN", 3)
    now = datetime.now(UTC)
    for _ in range(2):
        look(observer, now=now)
    with CaptureQueriesContext(connection) as queries:
        observer.read()
        observer.order_lists.write(now=now)
    begin = connection.vendor == "sqlite"  # PostgreSQL's is not among the captured ones
    assert len(queries) <= STATEMENTS_OF_AN_IDLE_READ + (not begin)
    read_at = stored(kraken).read_at
    kraken.refresh_from_db()
    assert read_at == kraken.seen_at, "the orders have the age of the figure all the same"


def test_the_revision_is_taken_after_the_orders_are_written(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    observer.read()
    with CaptureQueriesContext(connection) as queries:
        observer.order_lists.write(now=datetime.now(UTC))
    words = [query["sql"].split()[0] for query in queries if "exchanges_" in query["sql"]]
    assert words == ["UPDATE", "INSERT", "UPDATE"]  # the fence, the orders, their revision
    places = [number for number, query in enumerate(queries) if "live_revision" in query["sql"]]
    inserts = [number for number, query in enumerate(queries) if "INSERT" in query["sql"]]
    assert len(places) == 1
    assert inserts[0] < places[0]


def test_an_order_keeps_its_age_while_it_is_listed_and_changes(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    lists(simulator, row(1))
    look(observer)
    first_seen_at = stored(kraken).oldest_at
    lists(simulator, row(2), row(1, amount_open=0.5, exchange_order_id="e1"))
    look(observer)
    older, newer = stored(kraken).orders
    assert (older.client_order_id, older.first_seen_at) == ("c1", first_seen_at)
    assert older.amount_open == "0.5"
    assert first_seen_at is not None
    assert newer.first_seen_at > first_seen_at
    lists(simulator, row(2))
    look(observer)
    lists(simulator, row(1), row(2))
    look(observer)
    assert [order.client_order_id for order in stored(kraken).orders] == ["c2", "c1"]


def test_orders_without_ids_of_their_own_have_ages_too(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    same = row(client_order_id="")
    lists(simulator, same)
    look(observer)
    first_seen_at = stored(kraken).oldest_at
    lists(simulator, same, same)
    look(observer)
    ages = [order.first_seen_at for order in stored(kraken).orders]
    assert ages[0] == first_seen_at != ages[1]


def test_the_ages_survive_a_restart_of_the_observer(
    observer: Observer, ems: EmsClient, simulator: Simulator, kraken: Exchange
) -> None:
    lists(simulator, row(1))
    look(observer)
    first_seen_at, revision = stored(kraken).oldest_at, current()
    observer.release_lease()
    heir = Observer(client=ems)
    assert heir.keep_lease()
    look(heir)
    assert (stored(kraken).oldest_at, current()) == (first_seen_at, revision)
    lists(simulator, row(1), row(2))
    look(heir)
    assert stored(kraken).oldest_at == first_seen_at


def test_an_observer_that_takes_over_again_does_not_trust_what_it_had_written(
    ems: EmsClient, simulator: Simulator, kraken: Exchange
) -> None:
    clock = Clock()
    first, second = (Observer(client=ems, lease=ObserverLease(clock=clock)) for _ in range(2))
    assert first.keep_lease()
    lists(simulator, row(1))
    look(first)
    second.keep_lease()
    clock.now += 6
    assert second.keep_lease()
    lists(simulator, row(1), row(2))
    look(second)
    clock.now += 6
    first.keep_lease()
    clock.now += 6
    assert first.keep_lease()
    lists(simulator, row(1))
    look(first)
    assert [order.client_order_id for order in stored(kraken).orders] == ["c1"]


def test_an_observer_that_has_lost_its_lease_writes_no_orders(
    ems: EmsClient, simulator: Simulator, kraken: Exchange
) -> None:
    observer = Observer(client=ems)
    observer.keep_lease()
    simulator.place("KRAKEN", 3)
    observer.read()
    observer._lease.release()
    assert Observer(client=ems).keep_lease()
    observer.order_lists.write(now=datetime.now(UTC) + 2 * MINUTE)
    assert not OpenOrderList.objects.exists()
    assert not OpenOrderSample.objects.exists()


@pytest.mark.parametrize("fault", ["server_error", "not_json", "too_many", "unauthorised"])
def test_a_list_that_cannot_be_read_keeps_the_orders_and_their_age(
    observer: Observer, simulator: Simulator, kraken: Exchange, fault: str
) -> None:
    simulator.place("KRAKEN", 3)
    look(observer)
    before = stored(kraken)
    for name in ("*", "KRAKEN"):
        simulator.script(name, list=[{"fault": fault, "repeat": True}])
    look(observer)
    assert stored(kraken) == before
    simulator.script("*", list=[])
    look(observer)
    after = stored(kraken)
    assert (after.orders, after.read_at) != (before.orders, before.read_at)
    assert after.orders == before.orders


def test_rows_that_name_no_exchange_are_kept_where_the_exchange_is_read_alone(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    simulator.script("*", list=[{"fault": "raw", "body": ODD_ROWS, "repeat": True}])
    lists(simulator, row(1), row(2, None), name="KRAKEN")
    look(observer)
    orders = stored(kraken)
    assert (len(orders.orders), orders.total, orders.unnamed) == (2, 2, 1)
    assert stored(binance).total == 0


def test_another_spelling_keeps_the_orders_that_were_known(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    lists(simulator, row(1))
    look(observer)
    before = stored(kraken)
    lists(simulator, row(1, "kraken"))
    look(observer)
    assert stored(kraken) == before


def test_what_a_cancel_has_read_since_leaves_the_orders_visibly_older(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    simulator.place("KRAKEN", 3)
    look(observer)
    read_at = stored(kraken).read_at
    assert read_at is not None
    kill_reads_none(kraken, at=read_at + timedelta(seconds=1))
    assert (stored(kraken).total, stored(kraken).read_at) == (3, read_at)


def test_orders_that_cannot_be_written_do_not_touch_the_figures_and_look_old(
    observer: Observer, simulator: Simulator, kraken: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists(simulator, row(1))
    look(observer)
    before = stored(kraken)

    def fail(self: OrderLists, _: object) -> None:
        raise Error("no space left")

    lists(simulator, row(1), row(2))
    with monkeypatch.context() as patch:
        patch.setattr(OrderLists, "_write_changed", fail)
        for _ in range(2):
            with pytest.raises(Error):
                look(observer)
    kraken.refresh_from_db()
    assert kraken.open_orders == 2
    assert stored(kraken) == before
    look(observer)
    assert stored(kraken).total == 2


def test_an_exchange_that_is_deleted_meanwhile_keeps_no_other_out(
    observer: Observer, simulator: Simulator, kraken: Exchange, binance: Exchange
) -> None:
    lists(simulator, row(1), row(2, "BINANCE"))
    observer.read()
    binance.delete()
    with pytest.raises(Error):
        observer.order_lists.write(now=datetime.now(UTC))
    look(observer)
    assert stored(kraken).total == 1


@pytest.fixture
def order_lists() -> OrderLists:
    """Order lists that no observer fills but the test."""
    return OrderLists(fence=lambda: True)


def take(order_lists: OrderLists, counts: dict[Exchange, int], *, at: datetime) -> None:
    """Read these counts at that time."""
    read = {
        each.pk: KeptOrders(orders=[], total=count, unnamed=0) for each, count in counts.items()
    }
    order_lists.take(read, at=at)
    order_lists.write(now=at)


def samples() -> set[tuple[str, datetime, int, int]]:
    names = ("configured_exchange__exchange_id", "minute", "lowest", "highest")
    return set(OpenOrderSample.objects.values_list(*names))


def test_each_minute_has_its_lowest_and_highest_count_in_one_insert(
    order_lists: OrderLists, kraken: Exchange, binance: Exchange
) -> None:
    for second, count in ((0, 5), (20, 0), (40, 9), (59, 3)):
        take(order_lists, {kraken: count, binance: 2}, at=NOON + timedelta(seconds=second))
    assert samples() == set()
    with CaptureQueriesContext(connection) as queries:
        order_lists.write(now=NOON + MINUTE)
    words = [query["sql"].split()[0] for query in queries if "sample" in query["sql"]]
    assert words.count("INSERT") == 1
    assert samples() == {("KRAKEN", NOON, 0, 9), ("BINANCE", NOON, 2, 2)}
    take(order_lists, {kraken: 7}, at=NOON + MINUTE)
    take(order_lists, {kraken: 8}, at=NOON + 2 * MINUTE)
    assert ("KRAKEN", NOON + MINUTE, 7, 7) in samples()


def test_counts_are_kept_for_24_hours(order_lists: OrderLists, kraken: Exchange) -> None:
    for minute in (NOON - timedelta(hours=24), NOON - timedelta(hours=24, minutes=1)):
        OpenOrderSample.objects.create(
            configured_exchange=kraken, minute=minute, lowest=1, highest=1
        )
    take(order_lists, {kraken: 1}, at=NOON)
    order_lists.write(now=NOON + MINUTE)
    minutes = OpenOrderSample.objects.values_list("minute", flat=True)
    assert list(minutes) == [NOON - timedelta(hours=24), NOON]


def test_a_minute_without_a_read_has_no_count(order_lists: OrderLists, kraken: Exchange) -> None:
    take(order_lists, {kraken: 1}, at=NOON)
    for number in range(1, 5):
        order_lists.write(now=NOON + number * MINUTE)
    take(order_lists, {kraken: 1}, at=NOON + 5 * MINUTE)
    order_lists.write(now=NOON + 6 * MINUTE)
    assert {minute for _, minute, _, _ in samples()} == {NOON, NOON + 5 * MINUTE}


def test_a_clock_that_is_set_back_keeps_the_counts_of_before(
    order_lists: OrderLists, kraken: Exchange
) -> None:
    take(order_lists, {kraken: 1}, at=NOON)
    order_lists.write(now=NOON + MINUTE)
    take(order_lists, {kraken: 5}, at=NOON)
    order_lists.write(now=NOON + MINUTE)
    assert samples() == {("KRAKEN", NOON, 1, 1)}


def test_the_counts_of_a_deleted_exchange_keep_no_other_out(
    order_lists: OrderLists, kraken: Exchange, binance: Exchange
) -> None:
    take(order_lists, {kraken: 0, binance: 0}, at=NOON)
    binance.delete()
    order_lists.write(now=NOON + MINUTE)
    assert samples() == {("KRAKEN", NOON, 0, 0)}


def test_the_observer_itself_counts_what_it_reads(
    observer: Observer, simulator: Simulator, kraken: Exchange
) -> None:
    wait_for(early_in_a_minute, seconds=10)
    simulator.place("KRAKEN", 3)
    look(observer)
    observer.order_lists.write(now=datetime.now(UTC) + MINUTE)
    assert {(name, lowest, highest) for name, _, lowest, highest in samples()} == {("KRAKEN", 3, 3)}
