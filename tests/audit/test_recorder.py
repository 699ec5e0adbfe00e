"""Changes, their revision and their events are one transaction, written in one order."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from killswitch.audit.actors import Actor
from killswitch.audit.chain import Head, NewEvent, head
from killswitch.audit.models import AuditEvent, EventKind, ThrottledEvent
from killswitch.audit.recorder import Recording, current_recording, recording
from killswitch.audit.verification.verify import verify
from killswitch.exchanges.models import Exchange
from killswitch.runtime.revisions import current
from tests.conftest import wait_for
from tests.failures import full_log

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

STATEMENTS = {
    "UPDATE live_revision": "revision",
    "SELECT pg_advisory_xact_lock": "lock",
    'INSERT INTO "audit_auditevent"': "events",
    'SELECT "audit_auditevent"': "head",
}
CHAIN = ["lock", "head", "events"]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that are sent to the database, by short names."""
    names: list[str] = []
    with CaptureQueriesContext(connection) as queries:
        yield names
    for query in queries.captured_queries:
        names.append(_name(query["sql"]))


def _name(sql: str) -> str:
    for beginning, name in STATEMENTS.items():
        if sql.startswith(beginning):
            return name
    return sql.split(maxsplit=1)[0]


def chained() -> list[str]:
    """The statements that append events: SQLite's write transaction is the lock itself."""
    return CHAIN if connection.vendor == "postgresql" else CHAIN[1:]


def kinds() -> list[str]:
    return list(AuditEvent.objects.order_by("seq").values_list("kind", flat=True))


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    """Run in a thread of its own, which keeps no connection."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.fixture
def kraken() -> Exchange:
    return Exchange.objects.create(exchange_id="KRAKEN")


class TestOrder:
    """Rows, revision, chain, commit: each once, and no statement more."""

    def test_rows_come_first_then_the_revision_then_the_chain(self, kraken: Exchange) -> None:
        before = current()
        with statements() as names, recording() as record:
            record.event(EventKind.EXCHANGE_CHANGED, exchange_id="KRAKEN")
            record.changed(kraken)
            Exchange.objects.filter(pk=kraken.pk).update(name="Kraken")
        assert names == ["BEGIN", "UPDATE", "revision", "UPDATE", *chained(), "COMMIT"]
        stored = Exchange.objects.get()
        assert stored.revision == kraken.revision == current() == before + 1
        assert stored.name == "Kraken"
        assert kinds() == ["EXCHANGE_CHANGED"]

    def test_a_row_that_is_written_with_its_revision_costs_no_other_statement(self) -> None:
        with statements() as names, recording() as record:
            Exchange.objects.create(exchange_id="A", revision=record.revision)
            Exchange.objects.create(exchange_id="B", revision=record.revision)
            record.event(EventKind.EXCHANGE_ADDED)
        assert names == ["BEGIN", "revision", "INSERT", "INSERT", *chained(), "COMMIT"]
        assert set(Exchange.objects.values_list("revision", flat=True)) == {current()}

    def test_a_queryset_gets_the_revision_in_one_statement(self, kraken: Exchange) -> None:
        Exchange.objects.create(exchange_id="OKX")
        with statements() as names, recording() as record:
            record.changed(Exchange.objects.all(), kraken)
        assert names == ["BEGIN", "revision", "UPDATE", "UPDATE", "COMMIT"]
        assert set(Exchange.objects.values_list("revision", flat=True)) == {current()}

    def test_events_without_a_change_take_no_revision(self) -> None:
        before = current()
        with statements() as names, recording() as record:
            record.event(EventKind.SIGNED_IN)
            record.add(NewEvent(kind=EventKind.DENIED), NewEvent(kind=EventKind.SIGNED_OUT))
        assert names == ["BEGIN", *chained(), "COMMIT"]
        assert current() == before
        assert kinds() == ["SIGNED_IN", "DENIED", "SIGNED_OUT"]

    def test_a_change_without_an_event_takes_no_lock_on_the_chain(self, kraken: Exchange) -> None:
        with statements() as names, recording() as record:
            record.changed(kraken)
        assert names == ["BEGIN", "revision", "UPDATE", "COMMIT"]

    def test_an_empty_recording_is_an_empty_transaction(self) -> None:
        with statements() as names, recording() as record:
            pass
        assert names == ["BEGIN", "COMMIT"]
        assert record.events == ()

    def test_events_written_early_can_be_referred_to_by_rows(self, kraken: Exchange) -> None:
        with statements() as names, recording() as record:
            record.changed(kraken)
            record.event(EventKind.REVIEWED)
            [event] = record.write_events()
            ThrottledEvent.objects.create(kind="x", subject=str(event.seq), since=datetime.now(UTC))
        assert names == ["BEGIN", "revision", "UPDATE", *chained(), "INSERT", "COMMIT"]
        assert ThrottledEvent.objects.get().subject == str(head().seq)

    def test_the_revision_is_not_taken_after_the_chain(self, kraken: Exchange) -> None:
        def change_after_the_chain() -> None:
            with recording() as record:
                record.event(EventKind.REVIEWED)
                record.write_events()
                record.changed(kraken)

        with pytest.raises(RuntimeError, match="before the chain"):
            change_after_the_chain()
        assert kinds() == []
        with recording() as record:
            revision = record.revision
            record.event(EventKind.REVIEWED)
            record.write_events()
            record.changed(kraken)
            record.event(EventKind.CLOSED)
        assert Exchange.objects.get().revision == revision
        assert kinds() == ["REVIEWED", "CLOSED"]


class TestEvents:
    """The events are known after the recording, and none is lost without an error."""

    def test_they_equal_the_events_in_the_log(self) -> None:
        with recording() as record:
            record.event(
                EventKind.FINISHED,
                actor=Actor(name="Olga", role="Risk officer"),
                exchange_id="KRAKEN",
                request_id="r-1",
                status="REJECTED",
                reject_reason="MARKET_CLOSED",
                data={"attempts": 3},
            )
            record.event(EventKind.ALARM_RAISED)
        first, second = record.events
        assert head() == Head(seq=second.seq, hash=second.hash)
        assert second.previous == first.hash
        stored = AuditEvent.objects.get(seq=first.seq)
        assert vars(stored) | {"_state": None} == vars(first) | {"_state": None}
        assert (stored.actor, stored.role, stored.data) == (
            "Olga",
            "Risk officer",
            '{"attempts":3}',
        )

    def test_they_are_not_known_before_they_are_written(self) -> None:
        with recording() as record:
            record.event(EventKind.STARTED)
            with pytest.raises(RuntimeError, match="not written"):
                _ = record.events
        assert [event.kind for event in record.events] == ["STARTED"]

    @pytest.mark.parametrize(
        "use",
        [
            lambda record: record.event(EventKind.STARTED),
            lambda record: record.add(NewEvent(kind=EventKind.STARTED)),
            lambda record: record.changed(Exchange.objects.all()),
            lambda record: record.write_events(),
            lambda record: record.revision,
        ],
    )
    def test_a_recording_that_is_over_takes_no_more(self, use: Callable[[Recording], Any]) -> None:
        with recording() as record:
            pass
        with pytest.raises(RuntimeError, match="over"):
            use(record)
        with recording(), pytest.raises(RuntimeError, match="over"):
            use(record)
        assert kinds() == []


class TestNesting:
    """A recording inside another one is part of it."""

    def test_its_events_and_changes_come_at_the_end_of_the_outer_one(
        self, kraken: Exchange
    ) -> None:
        with statements() as names, recording() as outer:
            outer.event(EventKind.FINISHED)
            with recording() as inner:
                inner.event(EventKind.ALARM_RAISED)
                inner.changed(kraken)
            assert inner is outer is current_recording()
            Exchange.objects.create(exchange_id="B", revision=outer.revision)
            outer.event(EventKind.TAKEN_OVER)
        assert names == ["BEGIN", "revision", "INSERT", "UPDATE", *chained(), "COMMIT"]
        assert kinds() == ["FINISHED", "ALARM_RAISED", "TAKEN_OVER"]
        assert set(Exchange.objects.values_list("revision", flat=True)) == {current()}

    def test_its_exception_undoes_the_outer_one_even_if_it_is_caught(self) -> None:
        def change(*, with_event: bool) -> None:
            with recording() as outer:
                Exchange.objects.create(exchange_id="A")
                if with_event:
                    outer.event(EventKind.EXCHANGE_ADDED)
                with pytest.raises(ValueError, match="no"), recording():
                    raise ValueError("no")

        for with_event in (True, False):
            with pytest.raises(TransactionManagementError):
                change(with_event=with_event)
            assert not Exchange.objects.exists()
            assert kinds() == []

    def test_a_plain_transaction_around_it_may_go_on_after_its_exception(self) -> None:
        def fail() -> None:
            with recording() as record:
                Exchange.objects.create(exchange_id="B")
                record.event(EventKind.EXCHANGE_ADDED)
                raise ValueError("no")

        with transaction.atomic():
            Exchange.objects.create(exchange_id="A")
            with pytest.raises(ValueError, match="no"):
                fail()
            Exchange.objects.create(exchange_id="C")
        assert sorted(Exchange.objects.values_list("exchange_id", flat=True)) == ["A", "C"]
        assert kinds() == []

    def test_inside_a_plain_transaction_the_events_come_at_its_own_end(self) -> None:
        with statements() as names, transaction.atomic():
            with recording() as record:
                record.event(EventKind.EXCHANGE_ADDED)
            assert record.events[0].seq == 1
        assert names == ["BEGIN", "SAVEPOINT", *chained(), "RELEASE", "COMMIT"]

    @pytest.mark.parametrize("join", [recording, current_recording])
    def test_inside_a_savepoint_recording_is_refused(self, join: Callable[[], Any]) -> None:
        """Its rows could be rolled back alone, and the log would hold an event without them."""
        with recording() as record:
            with pytest.raises(RuntimeError, match="savepoint"), transaction.atomic():
                record.event(EventKind.STARTED)
            with pytest.raises(RuntimeError, match="savepoint"), transaction.atomic():
                _ = record.revision
            with pytest.raises(RuntimeError, match="savepoint"), transaction.atomic(), join():
                pass
            with transaction.atomic():
                Exchange.objects.create(exchange_id="A")
            record.event(EventKind.EXCHANGE_ADDED)
        assert kinds() == ["EXCHANGE_ADDED"]

    def test_without_an_open_recording_there_is_no_current_one(self) -> None:
        with pytest.raises(RuntimeError, match="open a recording"):
            current_recording()
        with transaction.atomic(), pytest.raises(RuntimeError, match="open a recording"):
            current_recording()


class TestFailing:
    """A failure rolls everything back, and the next recording starts empty."""

    @pytest.mark.parametrize("error", [ValueError, DatabaseError, KeyboardInterrupt])
    def test_an_exception_leaves_no_row_no_revision_and_no_event(
        self, error: type[BaseException], kraken: Exchange
    ) -> None:
        before, failed = current(), list[Recording]()

        def fail() -> None:
            with recording() as record:
                failed.append(record)
                record.changed(kraken)
                Exchange.objects.create(exchange_id="A", revision=record.revision)
                record.event(EventKind.EXCHANGE_ADDED)
                raise error

        with pytest.raises(error):
            fail()
        assert (Exchange.objects.count(), current(), kinds()) == (1, before, [])
        with pytest.raises(RuntimeError, match="not written"):
            _ = failed[0].events
        with statements() as names, recording() as record:
            record.event(EventKind.STARTED)
        assert names == ["BEGIN", *chained(), "COMMIT"]
        assert kinds() == ["STARTED"]

    def test_an_event_that_the_log_does_not_take_undoes_the_rows(self) -> None:
        with full_log(), pytest.raises(OperationalError):
            _add("A")
        assert not Exchange.objects.exists()
        with pytest.raises(RuntimeError, match="open a recording"):
            current_recording()

    def test_a_row_that_the_database_refuses_is_an_error_and_no_event(
        self, kraken: Exchange
    ) -> None:
        with pytest.raises(IntegrityError):
            _add(kraken.exchange_id)
        assert kinds() == []

    def test_a_rollback_that_the_block_asks_for_is_not_silent(self) -> None:
        with pytest.raises(TransactionManagementError), recording():
            transaction.set_rollback(True)


class TestConnection:
    """The short transactions of a kill keep no connection while the EMS is waited for."""

    def test_it_is_closed_after_the_commit_on_request(self) -> None:
        with recording(then_release_connection=True) as record:
            record.event(EventKind.STARTED)
        assert connection.connection is None
        assert kinds() == ["STARTED"]
        with recording():
            pass
        assert connection.connection is not None

    def test_it_is_closed_after_an_exception_too(self) -> None:
        Exchange.objects.create(exchange_id="A")
        with pytest.raises(IntegrityError), recording(then_release_connection=True):
            Exchange.objects.create(exchange_id="A")
        assert connection.connection is None
        assert Exchange.objects.count() == 1

    @pytest.mark.parametrize("around", [recording, transaction.atomic])
    def test_it_is_never_closed_under_a_transaction_that_goes_on(
        self, around: Callable[[], Any]
    ) -> None:
        def close() -> None:
            with around():
                Exchange.objects.create(exchange_id="A")
                with recording(then_release_connection=True):
                    pass

        with pytest.raises(RuntimeError, match="durable"):
            close()
        assert not Exchange.objects.exists()


class TestManyAtOnce:
    """Each thread has its own recording; together they write one chain and one order."""

    def test_a_thread_does_not_see_the_recording_of_another(self) -> None:
        errors: list[str] = []

        def use(record: Recording) -> None:
            for attempt in (current_recording, lambda: record.event(EventKind.STARTED)):
                try:
                    attempt()
                except RuntimeError as error:
                    errors.append(str(error))

        with recording() as record:
            in_thread(lambda: use(record)).join(10)
        assert len(errors) == 2
        assert kinds() == []

    def test_a_poller_never_sees_a_revision_before_its_rows(self) -> None:
        """Each recording makes one row, so every number up to the newest must have its row."""
        before, missing, over = current(), list[set[int]](), threading.Event()

        def write(name: str) -> None:
            for number in range(15):
                with recording() as record:
                    row = Exchange.objects.create(exchange_id=f"{name} {number}")
                    record.changed(row)
                    record.event(EventKind.EXCHANGE_ADDED, exchange_id=row.exchange_id)

        def poll() -> None:
            while not over.is_set():
                newest = current()
                rows = set(Exchange.objects.values_list("revision", flat=True))
                if gaps := set(range(before + 1, newest + 1)) - rows:
                    missing.append(gaps)

        poller = in_thread(poll)
        writers = [in_thread(lambda name=name: write(name)) for name in "ABCD"]  # type: ignore[misc]
        for writer in writers:
            writer.join(60)
        over.set()
        poller.join(10)
        assert missing == []
        assert current() == before + 60
        assert verify().ok
        order = dict(Exchange.objects.values_list("exchange_id", "revision"))
        events = AuditEvent.objects.order_by("seq").values_list("exchange_id", flat=True)
        assert [order[key] for key in events] == list(range(before + 1, before + 61))

    def test_the_chain_is_free_until_the_recording_ends(self) -> None:
        """Only on PostgreSQL: on SQLite the transaction itself is the lock."""
        if connection.vendor != "postgresql":
            return
        with recording() as record:
            record.event(EventKind.FINISHED)
            _ = record.revision
            other = in_thread(_record_start)
            wait_for(lambda: kinds() == ["STARTED"], seconds=10)
        other.join(10)
        assert kinds() == ["STARTED", "FINISHED"]


def _add(exchange_id: str) -> None:
    with recording() as record:
        record.event(EventKind.EXCHANGE_ADDED, exchange_id=exchange_id)
        Exchange.objects.create(exchange_id=exchange_id)


def _record_start() -> None:
    with recording() as record:
        record.event(EventKind.STARTED)
