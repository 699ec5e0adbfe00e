"""What is recorded of the exchanges on which a cancel was confirmed, and when it is an alarm."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.audit.event_reader import read
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import no_progress
from killswitch.cancels import reconciliation
from killswitch.cancels.models import Batch, CancelRequest, Origin, SecondLook
from killswitch.cancels.states import FINAL, Status
from killswitch.ems.client import EmsClient
from killswitch.exchanges.models import Exchange, Observation
from killswitch.holds.models import Hold, HoldState
from killswitch.holds.services import Act, start_hold
from killswitch.observer.open_orders import Observer
from killswitch.observer.second_looks import SecondLooks
from killswitch.runtime.revisions import current
from killswitch.simulator.server import Simulator
from tests import factories
from tests.clock import Clock

ReadAfter = Callable[..., None]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

UNREADABLE = {"fault": "server_error", "status": 503, "repeat": True}
ODD_ROW = {"fault": "raw", "body": '[{"status":"NEW"}]', "repeat": True}
PAGED = {"headers": {"X-Total-Count": "905"}, "fault": "raw", "repeat": True}
OTHER_SPELLING = '[{"exchange_id":"kraken","status":"NEW"}]'


@pytest.fixture
def ems(simulator: Simulator) -> Iterator[EmsClient]:
    client = EmsClient(base_url=simulator.url, connect_timeout=5, timeout=10)
    yield client
    client.close()


@pytest.fixture
def observer(ems: EmsClient, clock: Clock) -> Observer:
    """An observer whose own clock is the test's, with one read behind it."""
    observer = Observer(client=ems, second_looks=SecondLooks(clock=clock))
    assert observer.keep_lease()
    factories.exchange("KRAKEN")
    assert observer.read()
    return observer


@pytest.fixture
def kraken(observer: Observer) -> Exchange:
    return Exchange.objects.get(exchange_id="KRAKEN")


@pytest.fixture
def olga() -> User:
    return factories.person(Role.RISK_OFFICER)


@pytest.fixture
def confirmed(kraken: Exchange, olga: User) -> CancelRequest:
    """A request on KRAKEN that has just ended CONFIRMED."""
    return confirm(olga, kraken)


@pytest.fixture
def read_after(observer: Observer, clock: Clock) -> ReadAfter:
    """Return a function that reads so many seconds later, one read after the other."""

    def read_each(*delays_s: float) -> None:
        for delay_s in delays_s:
            clock.now += delay_s
            assert observer.read()

    return read_each


def confirm(user: User, *exchanges: Exchange, status: Status = Status.CONFIRMED) -> CancelRequest:
    """Press on these exchanges, bring all requests to their end, and return the first."""
    batch = factories.press(user, *exchanges, ago_s=0)
    for request in batch.requests.all():
        factories.bring(request, status)
    return batch.requests.order_by("id")[0]


def looks(request: CancelRequest) -> list[tuple[int, int | None]]:
    return list(request.second_looks.values_list("after_s", "open_orders"))


def verified() -> list[str]:
    return [finding.reason for finding in reconciliation.discrepancies(None, no_progress)]


def test_what_is_still_empty_is_recorded_after_5_and_60_seconds(
    read_after: ReadAfter,
    confirmed: CancelRequest,
) -> None:
    read_after(2, 2, 2)
    assert looks(confirmed) == []
    read_after(2)
    assert looks(confirmed) == [(5, 0)]
    confirmed.refresh_from_db()
    assert confirmed.revision == current(), "open pages show it"
    read_after(*[2] * 26)
    assert looks(confirmed) == [(5, 0)]
    read_after(2, 2, 2)
    assert looks(confirmed) == [(5, 0), (60, 0)]
    first, second = AuditEvent.objects.filter(kind=EventKind.SECOND_LOOK).order_by("seq")
    assert (first.exchange_id, first.request_id, first.status) == (
        "KRAKEN",
        str(confirmed.uuid),
        "CONFIRMED",
    )
    data = read(first).facts
    assert data.keys() == {"batch", "after_s", "read_at", "open_orders", "error"}
    assert (data["batch"], data["after_s"], data["open_orders"], data["error"]) == (
        str(confirmed.batch.uuid),
        5,
        0,
        "",
    )
    assert read(second).number("after_s") == 60
    assert not Alarm.objects.exists()
    assert verified() == []


def test_a_look_is_no_call_of_its_own(
    read_after: ReadAfter, confirmed: CancelRequest, simulator: Simulator
) -> None:
    read_after(*[2] * 40)
    assert SecondLook.objects.count() == 2
    assert len(simulator.calls(method="GET")) == 41


def test_orders_that_are_open_again_are_one_alarm(
    read_after: ReadAfter, confirmed: CancelRequest, simulator: Simulator
) -> None:
    read_after(2, 10)
    simulator.place("KRAKEN", 3)
    read_after(2)
    confirmed.refresh_from_db()
    assert confirmed.reopened_orders == 3
    assert confirmed.needs_attention
    assert confirmed.revision == current()
    alarm = Alarm.objects.get()
    assert alarm.kind == AlarmKind.REOPENED
    # The test's clock went on by 14 s, of which at most 2 s were before the end was known.
    assert alarm.title == "KRAKEN: 3 orders are open again 12 s after the cancel was confirmed."
    assert (alarm.batch_id, alarm.batch_size) == (str(confirmed.batch.uuid), 1)
    assert alarm.summary == "orders are open again after the cancel was confirmed"
    assert "Retry, or use “Cancel and hold”." in alarm.detail.splitlines()[0]
    assert "Requested by Olga Ray (olga)" in alarm.detail
    event = AuditEvent.objects.get(kind=EventKind.ALARM_RAISED)
    assert read(event).number("reopened_orders") == 3
    assert read(event).text("reopened_at")
    simulator.place("KRAKEN", 4)
    read_after(*[2] * 30)
    confirmed.refresh_from_db()
    assert confirmed.reopened_orders == 3
    assert Alarm.objects.count() == 1
    assert looks(confirmed) == [(5, 0), (60, 7)]
    assert verified() == []


def test_five_of_five_exchanges_are_five_alarms_of_one_press(
    read_after: ReadAfter, olga: User, simulator: Simulator
) -> None:
    exchanges = factories.exchanges(5)
    request = confirm(olga, *exchanges)
    read_after(2)
    for number, exchange in enumerate(exchanges, 1):
        simulator.place(exchange.exchange_id, number)
    read_after(2, 2, 2)
    alarms = Alarm.objects.order_by("exchange_id")
    assert [alarm.exchange_id for alarm in alarms] == [row.exchange_id for row in exchanges]
    assert {(alarm.batch_id, alarm.batch_size, alarm.summary) for alarm in alarms} == {
        (str(request.batch.uuid), 5, "orders are open again after the cancel was confirmed")
    }
    reopened = request.batch.requests.order_by("id").values_list("reopened_orders", flat=True)
    assert list(reopened) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("status", sorted(FINAL - {Status.CONFIRMED}))
def test_only_a_confirmed_request_is_looked_at_again(
    read_after: ReadAfter,
    kraken: Exchange,
    olga: User,
    simulator: Simulator,
    status: Status,
) -> None:
    request = confirm(olga, kraken, status=status)
    simulator.place("KRAKEN", 3)
    read_after(*[2] * 40)
    assert looks(request) == []
    assert not Alarm.objects.filter(kind=AlarmKind.REOPENED).exists()


@pytest.mark.parametrize("status", [Status.REQUESTED, Status.SENDING, Status.CONFIRMED])
def test_only_the_newest_request_of_an_exchange_is_looked_at(
    read_after: ReadAfter,
    kraken: Exchange,
    olga: User,
    simulator: Simulator,
    status: Status,
) -> None:
    first = confirm(olga, kraken)
    read_after(2)
    second = factories.bring(factories.press(olga, kraken).requests.get(), status)
    simulator.place("KRAKEN", 3)
    read_after(*[2] * 4)
    first.refresh_from_db()
    assert first.reopened_at is None
    assert looks(first) == []
    second.refresh_from_db()
    assert (second.reopened_orders is not None) == (status is Status.CONFIRMED)


def test_a_list_requested_before_the_end_proves_nothing(
    observer: Observer, clock: Clock, kraken: Exchange, olga: User, simulator: Simulator
) -> None:
    simulator.place("KRAKEN", 3)
    seen_before = dict(Exchange.objects.values_list("pk", "seen_at"))
    known = current()
    orders = observer._client.open_orders()
    request = confirm(olga, kraken)
    requested_at = clock()
    clock.now += 6
    assert observer.write(orders, seen_before=seen_before, known=known, requested_at=requested_at)
    request.refresh_from_db()
    assert request.reopened_at is None
    assert looks(request) == []


def test_after_five_minutes_new_orders_are_nothing_special(
    read_after: ReadAfter, confirmed: CancelRequest, simulator: Simulator
) -> None:
    read_after(2, 298, 2.5)
    simulator.place("KRAKEN", 3)
    read_after(2)
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is None
    assert not Alarm.objects.exists()


def test_orders_at_the_end_of_the_five_minutes_are_an_alarm(
    read_after: ReadAfter, confirmed: CancelRequest, simulator: Simulator
) -> None:
    read_after(2, 290)
    simulator.place("KRAKEN", 3)
    read_after(2)
    assert " open again 5 min after the cancel" in Alarm.objects.get().title


@pytest.mark.parametrize("skew", [timedelta(hours=-3), timedelta(hours=3)])
def test_a_wrong_clock_of_another_host_has_no_effect(
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
    skew: timedelta,
) -> None:
    CancelRequest.objects.update(finished_at=F("finished_at") + skew)
    read_after(2, 6)
    assert looks(confirmed) == [(5, 0)]
    simulator.place("KRAKEN", 1)
    read_after(6)
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is not None
    assert confirmed.finished_at is not None
    delay = confirmed.reopened_at - confirmed.finished_at
    assert timedelta(seconds=12) <= delay <= timedelta(seconds=14)


def test_an_observer_that_has_just_started_raises_the_alarm_and_records_no_look_at_a_wrong_time(
    ems: EmsClient, clock: Clock, olga: User, simulator: Simulator
) -> None:
    kraken, binance = factories.exchange("KRAKEN"), factories.exchange("BINANCE")
    request = confirm(olga, kraken)
    old = confirm(olga, binance)
    seven_minutes = timedelta(minutes=7)
    CancelRequest.objects.filter(pk=old.pk).update(finished_at=F("finished_at") - seven_minutes)
    simulator.place("KRAKEN", 3)
    simulator.place("BINANCE", 3)
    observer = Observer(client=ems, second_looks=SecondLooks(clock=clock))
    assert observer.keep_lease()
    for _ in range(40):
        assert observer.read()
        clock.now += 2
    request.refresh_from_db()
    old.refresh_from_db()
    assert (request.reopened_orders, old.reopened_orders) == (3, None)
    assert not SecondLook.objects.exists()


def test_an_observer_that_was_paused_records_no_look_that_is_late(
    read_after: ReadAfter, confirmed: CancelRequest, kraken: Exchange, olga: User
) -> None:
    read_after(40, 6, 6)
    assert looks(confirmed) == []
    read_after(*[2] * 24)
    assert looks(confirmed) == []
    other = confirm(olga, kraken)
    read_after(2, 36, 25)
    assert looks(other) == [(60, 0)], "the first one was missed"


def test_a_process_that_lost_the_lease_writes_nothing(
    observer: Observer,
    clock: Clock,
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
) -> None:
    read_after(2)
    simulator.place("KRAKEN", 3)
    Observation.objects.update(lease_token="another")
    clock.now += 6
    assert observer.read() is None
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is None
    assert looks(confirmed) == []
    assert not Alarm.objects.exists()


def test_a_failed_transaction_loses_neither_look_nor_alarm(
    observer: Observer,
    clock: Clock,
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
) -> None:
    read_after(2)
    simulator.place("KRAKEN", 3)
    clock.now += 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("killswitch.observer.open_orders._replace_uncovered", _fail)
        with pytest.raises(RuntimeError):
            observer.read()
    assert not Alarm.objects.exists()
    read_after(1)
    confirmed.refresh_from_db()
    assert (confirmed.reopened_orders, looks(confirmed)) == (3, [(5, 3)])
    assert Alarm.objects.count() == 1


def _fail(*_: Any, **__: Any) -> bool:
    raise RuntimeError


def test_under_a_hold_and_after_its_release_there_is_no_such_alarm(
    read_after: ReadAfter,
    confirmed: CancelRequest,
    kraken: Exchange,
    olga: User,
    simulator: Simulator,
) -> None:
    hold = start_hold(kraken, act=Act.of_user(olga), reason="").hold
    simulator.place("KRAKEN", 3)
    read_after(*[2] * 4)
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is None
    assert looks(confirmed) == [(5, 3)]
    ended_at = confirmed.finished_at
    assert ended_at
    assert confirmed.finished_revision
    rows = Hold.objects.filter(pk=hold.pk)
    rows.update(
        state=HoldState.RELEASED,
        released_at=ended_at + timedelta(seconds=1),
        release_requested_at=ended_at,
        release_requested_by="Olga",
        revision=confirmed.finished_revision + 1,
    )
    read_after(2)
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is None  # people have let trading go on
    rows.update(revision=confirmed.finished_revision - 1)  # it was released before the press
    read_after(2)
    confirmed.refresh_from_db()
    assert confirmed.reopened_orders == 3


def test_an_episode_of_a_hold_gets_no_second_look(
    read_after: ReadAfter, confirmed: CancelRequest
) -> None:
    Batch.objects.update(origin=Origin.HOLD)
    read_after(*[2] * 40)
    assert looks(confirmed) == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (UNREADABLE, "HTTP 503"),
        ({**PAGED, "body": "[]"}, "905"),
        ({"fault": "raw", "body": OTHER_SPELLING, "repeat": True}, "kraken"),
        ({"fault": "raw", "body": "[]", "headers": {"Age": "7"}, "repeat": True}, "Age"),
    ],
)
def test_a_list_that_proves_nothing_is_recorded_with_the_reason(
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
    fault: dict[str, Any],
    error: str,
) -> None:
    read_after(2)
    for name in ("*", "KRAKEN"):
        simulator.script(name, list=[fault])
    read_after(6)
    look = confirmed.second_looks.get()
    assert (look.after_s, look.open_orders) == (5, None)
    assert error in look.error
    assert not Alarm.objects.filter(kind=AlarmKind.REOPENED).exists()
    assert verified() == []


def test_when_exchanges_are_read_one_by_one_the_look_waits_for_their_lists(
    observer: Observer,
    clock: Clock,
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
) -> None:
    simulator.script("*", list=[ODD_ROW])
    read_after(2, 6)  # by the real clock, the single lists were read just now
    assert looks(confirmed) == []
    observer._next_single_reads = type(observer._next_single_reads)(0.0)
    read_after(1)
    assert looks(confirmed) == [(5, 0)]


@pytest.mark.parametrize(
    "fault",
    [
        {**PAGED, "body": '[{"exchange_id":"KRAKEN","status":"NEW"}]'},
        {
            "fault": "raw",
            "body": '[{"status":"NEW"},{"exchange_id":"KRAKEN","status":"NEW"}]',
            "repeat": True,
        },
    ],
)
@pytest.mark.parametrize("where", ["*", "KRAKEN"])
def test_an_order_that_is_listed_in_a_doubtful_list_counts(
    read_after: ReadAfter,
    confirmed: CancelRequest,
    simulator: Simulator,
    fault: dict[str, Any],
    where: str,
) -> None:
    read_after(2)
    simulator.script("*", list=[ODD_ROW if where == "KRAKEN" else fault])
    simulator.script("KRAKEN", list=[UNREADABLE if where == "*" else fault])
    read_after(6)
    confirmed.refresh_from_db()
    assert confirmed.reopened_orders
    look = confirmed.second_looks.get()
    assert look.open_orders == confirmed.reopened_orders
    alarm = Alarm.objects.get(kind=AlarmKind.REOPENED)
    assert alarm.title.startswith("KRAKEN: at least ")
    assert f"There may be more: {look.error}" in alarm.detail
    assert verified() == []


def test_an_old_copy_of_a_list_is_not_orders_open_again(
    read_after: ReadAfter, confirmed: CancelRequest, simulator: Simulator
) -> None:
    read_after(2)
    rows = '[{"exchange_id":"KRAKEN","status":"NEW"}]'
    cached = {"fault": "raw", "body": rows, "headers": {"Age": "7"}, "repeat": True}
    simulator.script("*", list=[cached])
    read_after(6)
    confirmed.refresh_from_db()
    assert confirmed.reopened_at is None
    assert looks(confirmed) == [(5, None)]


def test_without_a_confirmed_request_a_read_costs_one_query_more(
    observer: Observer, clock: Clock, read_after: ReadAfter, kraken: Exchange, olga: User
) -> None:
    def queries() -> list[str]:
        clock.now += 2
        with CaptureQueriesContext(connection) as captured:
            assert observer.read()
        texts = [query["sql"] for query in captured.captured_queries]
        return [text for text in texts if "cancels_" in text or "holds_" in text]

    assert len(queries()) == 1
    for status in FINAL - {Status.CONFIRMED}:
        confirm(olga, kraken, status=status)
    queries()
    assert len(queries()) == 1
    confirm(olga, kraken)
    assert len(queries()) > 1
    read_after(*[2] * 152)
    assert len(queries()) == 1
    (query,) = queries()
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {query}")
            plan = " ".join(row[-1] for row in cursor.fetchall())
        assert "SCAN cancels_cancelrequest" not in plan
        assert "revision>?" in plan.replace(" ", "")
