"""Working tables that were changed without an event are found, column by column."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from killswitch.audit import event_reader
from killswitch.audit.chain import Head
from killswitch.audit.models import AuditEvent
from killswitch.audit.verification.findings import Proof, no_progress
from killswitch.audit.verification.verify import verify, verify_newest
from killswitch.cancels import reconciliation
from killswitch.cancels.models import Attempt, Batch, CancelRequest, ResidualOrder, SecondLook
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange
from tests import factories
from tests.audit import forging
from tests.audit.assertions import Requests, assert_found, assert_good, only
from tests.audit.forging import TABLE

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


Change = Callable[[Requests], None]


def columns_of(model: Any, *but: str) -> list[str]:
    """Return all columns of a table except those that are in no event."""
    return [field.attname for field in model._meta.concrete_fields if field.attname not in but]


def another(value: Any, column: str) -> Any:
    """Return another value for the column."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value[:-1]}~" if value else "~"
        case None if column.endswith("_at"):
            return AuditEvent.objects.get(seq=1).at
        case None if column == "retry_of_id":
            return Batch.objects.latest("id").pk
        case None:
            return 1
        case list():
            return [*value, {"exchange_id": "~", "open_orders": 1, "why": "not_enabled"}]
        case bytes() | memoryview():
            return bytes(value) + b"~"
        case UUID():
            return uuid4()
        case _:
            return value + timedelta(microseconds=1)


OF_REQUESTS = columns_of(
    CancelRequest,
    *(
        "id",
        "uuid",
        "batch_id",
        "configured_exchange_id",
        "revision",
        "finished_revision",
        "lease_beats",
        "next_attempt_at",
    ),
)
OF_BATCHES = columns_of(Batch, "id", "key", "by_id")
OF_ATTEMPTS = columns_of(Attempt, "id", "request_id")
OF_ORDERS = columns_of(ResidualOrder, "id", "request_id")
OF_LOOKS = columns_of(SecondLook, "id", "request_id")


def assert_noticed(model: Any, pk: int, column: str) -> None:
    value = model.objects.values_list(column, flat=True).get(pk=pk)
    with forging.constraints_off("cancels_cancelrequest"):
        model.objects.filter(pk=pk).update(**{column: another(value, column)})
        result = verify()
    assert only(result) is Proof.TABLES, column
    assert result.reason


@pytest.mark.parametrize("column", OF_REQUESTS)
def test_a_changed_column_of_a_request_is_found(requests: Requests, column: str) -> None:
    assert_noticed(CancelRequest, requests["residual"].pk, column)


@pytest.mark.parametrize("column", OF_BATCHES)
def test_a_changed_column_of_a_press_is_found(requests: Requests, column: str) -> None:
    assert_noticed(Batch, requests["confirmed"].batch_id, column)


@pytest.mark.parametrize("column", OF_ATTEMPTS)
def test_a_changed_column_of_an_attempt_is_found(requests: Requests, column: str) -> None:
    attempt = Attempt.objects.filter(request=requests["confirmed"]).latest("number")
    assert_noticed(Attempt, attempt.pk, column)


@pytest.mark.parametrize("column", OF_ORDERS)
def test_a_changed_column_of_a_remaining_order_is_found(requests: Requests, column: str) -> None:
    assert_noticed(ResidualOrder, ResidualOrder.objects.latest("id").pk, column)


@pytest.fixture
def reopened(requests: Requests) -> CancelRequest:
    """A confirmed request with two second looks, of which the later one found orders."""
    request = requests["confirmed"]
    factories.look_again(request, after_s=5)
    factories.look_again(request, after_s=60, orders=3)
    assert_good(verify())
    return request


@pytest.mark.parametrize("column", OF_LOOKS)
def test_a_changed_column_of_a_second_look_is_found(reopened: CancelRequest, column: str) -> None:
    assert_noticed(SecondLook, reopened.second_looks.latest("after_s").pk, column)


@pytest.mark.parametrize("column", ["reopened_at", "reopened_orders"])
@pytest.mark.parametrize("is_cleared", [True, False])
def test_a_request_that_was_reopened_otherwise_than_the_log_says_is_found(
    reopened: CancelRequest, column: str, is_cleared: bool
) -> None:
    if is_cleared:
        CancelRequest.objects.filter(pk=reopened.pk).update(**{column: None})
        assert only(verify()) is Proof.TABLES
    else:
        assert_noticed(CancelRequest, reopened.pk, column)


@pytest.mark.parametrize("name", ["confirmed", "in_flight"])
def test_a_second_look_without_an_event_is_found(requests: Requests, name: str) -> None:
    now = requests["confirmed"].batch.asked_at
    SecondLook.objects.create(request=requests[name], after_s=5, read_at=now, open_orders=0)
    result = verify()
    assert only(result) is Proof.TABLES
    assert "its second look after 5 s has no event" in result.reason


@pytest.mark.parametrize("after_s", [5, 60])
def test_a_second_look_that_was_deleted_is_found(reopened: CancelRequest, after_s: int) -> None:
    reopened.second_looks.filter(after_s=after_s).delete()
    result = verify()
    assert only(result) is Proof.TABLES
    assert "the second look of event" in result.reason


def test_an_attempt_moved_to_another_request_is_found(requests: Requests) -> None:
    Attempt.objects.filter(request=requests["residual"]).update(
        request=requests["in_flight"], number=7
    )
    assert only(verify()) is Proof.TABLES


def test_a_request_moved_to_another_press_is_found(requests: Requests) -> None:
    batch = Batch.objects.get()
    batch.pk, batch.uuid, batch.key = None, uuid4(), "other"
    batch.save(force_insert=True)
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(batch=batch)
    result = verify()
    assert only(result) is Proof.TABLES
    assert "batch" in result.reason


def _delete_request(requests: Requests) -> None:
    requests["residual"].residual_orders.all().delete()
    requests["residual"].attempts.all().delete()
    requests["residual"].delete()


def _delete_attempt(requests: Requests) -> None:
    requests["in_flight"].attempts.all().delete()


def _delete_attempt_and_count(requests: Requests) -> None:
    requests["in_flight"].attempts.all().delete()
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(attempt_count=0)


def _delete_order(requests: Requests) -> None:
    requests["residual"].residual_orders.first().delete()  # type: ignore[union-attr]


def _add_order(requests: Requests) -> None:
    ResidualOrder.objects.create(request=requests["residual"], symbol="BTC/USD")


def _add_order_early(requests: Requests) -> None:
    ResidualOrder.objects.create(request=requests["in_flight"], symbol="BTC/USD")


def _add_attempt(requests: Requests) -> None:
    attempt = requests["in_flight"].attempts.get()
    attempt.pk, attempt.number = None, 2
    attempt.save(force_insert=True)
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(attempt_count=2)


def _add_request(requests: Requests) -> None:
    twin = CancelRequest.objects.get(pk=requests["in_flight"].pk)
    twin.pk, twin.uuid = None, uuid4()
    twin.configured_exchange = Exchange.objects.create(exchange_id="LMAX")
    twin.save(force_insert=True)


def _add_request_below_one(requests: Requests) -> None:
    twin = CancelRequest.objects.get(pk=requests["rejected"].pk)
    twin.pk, twin.uuid = -7, uuid4()
    twin.configured_exchange = Exchange.objects.create(exchange_id="LMAX")
    twin.save(force_insert=True)


def _show_elsewhere(requests: Requests) -> None:
    entry = Exchange.objects.create(exchange_id="LMAX")
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(configured_exchange=entry)


def _rename_exchange(requests: Requests) -> None:
    Exchange.objects.filter(pk=requests["residual"].configured_exchange_id).update(
        exchange_id="LMAX"
    )


def _add_press(requests: Requests) -> None:
    batch = Batch.objects.get()
    batch.pk, batch.uuid, batch.key = None, uuid4(), "other"
    batch.save(force_insert=True)


def _finish_silently(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(
        status=Status.UNKNOWN, finished_at=requests["residual"].finished_at
    )


def _reopen(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["residual"].pk).update(
        status=Status.VERIFYING, finished_at=None
    )


def _unsend(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(status=Status.REQUESTED)


CHANGES: list[Change] = [
    _delete_request,
    _delete_attempt,
    _delete_attempt_and_count,
    _delete_order,
    _add_order,
    _add_order_early,
    _add_attempt,
    _add_request,
    _add_request_below_one,
    _show_elsewhere,
    _rename_exchange,
    _add_press,
    _finish_silently,
    _reopen,
    _unsend,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_changed_without_an_event_is_found(requests: Requests, change: Change) -> None:
    change(requests)
    result = verify()
    assert only(result) is Proof.TABLES
    assert verify(with_tables=False).ok


def test_a_second_row_under_the_id_of_another_is_found(requests: Requests) -> None:
    """Some pages would show it, and a comparison by id would not."""
    true = requests["residual"]
    with forging.constraints_off("cancels_cancelrequest"):
        twin = CancelRequest.objects.get(pk=true.pk)
        twin.pk, twin.uuid, twin.status, twin.open_after = None, uuid4(), Status.CONFIRMED, 0
        twin.configured_exchange = Exchange.objects.create(exchange_id="LMAX")
        twin.save(force_insert=True)
        # SQLite keeps the id as text, in which another spelling is another id.
        spelled = true.uuid.hex.upper() if connection.vendor == "sqlite" else true.uuid
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE cancels_cancelrequest SET uuid = %s WHERE id = %s", [spelled, twin.pk]
            )
        result = verify()
    assert only(result) is Proof.TABLES
    assert "another row has the same ID" in result.reason


def test_two_attempts_with_one_number_are_found(requests: Requests) -> None:
    """The page shows both, so the comparison must see both."""
    of = requests["rejected"]
    true = Attempt.objects.filter(request=of).latest("number")
    with forging.uniqueness_off("cancels_attempt"):
        twin = Attempt.objects.get(pk=true.pk)
        twin.pk, twin.message = -5, "Ok, everything cancelled"
        twin.save(force_insert=True)
        CancelRequest.objects.filter(pk=of.pk).update(attempt_count=of.attempt_count + 1)
        result = verify()
    assert_found(result, Proof.TABLES, f"two attempts with the number {true.number}")


def test_an_end_that_counts_other_attempts_than_there_are_is_found(requests: Requests) -> None:
    of = requests["rejected"]
    seq = AuditEvent.objects.get(kind="FINISHED", request_id=str(of.uuid)).seq
    event = forging.row(seq)
    said = f'"attempts":{of.attempt_count}'
    assert said in event["data"]
    data = event["data"].replace(said, '"attempts":7')
    forging.forge(f"UPDATE {TABLE} SET data = %s WHERE seq = %s", [data, seq])
    forging.recompute_from(seq)
    assert_found(verify(), Proof.TABLES, "attempts is 1", "records 7")


def test_an_answer_after_the_end_is_no_discrepancy(requests: Requests) -> None:
    """A process that slept while another one finished the request still records its answer."""
    request = requests["rejected"]
    late_answer = factories.answer(request, Status.CONFIRMED)
    factories.attempt(request, late_answer, lease_token="asleep")
    assert AuditEvent.objects.latest("seq").kind == "ATTEMPT"
    assert_good(verify())


def test_two_presses_under_one_id_are_found(requests: Requests) -> None:
    """Each has a request of its own, so neither is empty."""
    with forging.uniqueness_off("cancels_batch"):
        twin = Batch.objects.get()
        twin.pk, twin.key = None, "other"
        twin.save(force_insert=True)
        CancelRequest.objects.filter(pk=requests["residual"].pk).update(batch=twin)
        result = verify()
    assert_found(result, Proof.TABLES, "its cancel shares an ID with another one")


def test_a_press_deleted_without_its_requests_is_found(requests: Requests) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # recording had them checked at once
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("DELETE FROM cancels_batch")  # references are checked at the commit
        result = verify()
        transaction.set_rollback(True)
    assert only(result) is Proof.TABLES
    assert "it or its cancel was deleted" in result.reason


def test_the_newest_events_are_compared_with_their_rows_too(requests: Requests) -> None:
    for change in (_show_elsewhere, _delete_request):
        change(requests)
        assert only(verify_newest(Head())) is Proof.TABLES


def test_no_query_scans_the_whole_log(requests: Requests) -> None:
    """Once per hundred requests, a scan would take hours in a long log."""
    if connection.vendor != "sqlite":
        return  # PostgreSQL decides by how large the tables are
    with CaptureQueriesContext(connection) as queries:
        assert list(reconciliation.discrepancies(None, no_progress)) == []
    with connection.cursor() as cursor:
        for query in queries.captured_queries:
            cursor.execute(f"EXPLAIN QUERY PLAN {query['sql']}")
            for *_, plan in cursor.fetchall():
                by = plan.partition(TABLE)[2]
                assert not by or "INDEX audit_request (request_id" in by, query["sql"]


def test_the_number_of_queries_does_not_depend_on_the_number_of_requests(
    requests: Requests,
) -> None:
    pks = sorted(request.pk for request in requests.values())
    counts = []
    for some in (pks[:1], pks):
        with CaptureQueriesContext(connection) as queries:
            assert reconciliation._of_rows(some) == []
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_data_of_each_event_is_parsed_once(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []
    parse = event_reader.parse

    def count(text: str) -> dict[str, Any]:
        texts.append(text)
        return parse(text)

    monkeypatch.setattr(event_reader, "parse", count)
    assert list(reconciliation.discrepancies(None, no_progress)) == []
    assert 0 < len(texts) <= AuditEvent.objects.exclude(request_id="").count()


def test_rows_that_agree_are_not_made_into_models(
    requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    init = Model.__init__

    def count(self: Model, *args: Any, **kwargs: Any) -> None:
        made.append(type(self).__name__)
        init(self, *args, **kwargs)

    monkeypatch.setattr(Model, "__init__", count)
    assert list(reconciliation.discrepancies(None, no_progress)) == []
    assert made == []


def test_a_time_before_christ_is_not_taken_for_the_same_one_after(requests: Requests) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite stores times as text
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cancels_batch SET asked_at = (asked_at::text || ' BC')::timestamptz")
    assert_found(verify(), Proof.TABLES, "cannot be read")


def test_a_request_in_flight_is_allowed_to_be_in_flight(requests: Requests) -> None:
    CancelRequest.objects.filter(pk=requests["in_flight"].pk).update(
        status=Status.VERIFYING, lease_beats=9, lease_token="another", reads=4
    )
    assert_good(verify())


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("cancels_batch", "by_name", "CAST(x'fffe' AS TEXT)"),
        ("cancels_batch", "asked_at", "'2026-99-99 08:00:00'"),
        ("cancels_batch", "uuid", "'x'"),
        ("cancels_cancelrequest", "uuid", "'x'"),
    ],
)
def test_a_row_that_cannot_be_read_is_a_finding(
    requests: Requests, table: str, column: str, value: str
) -> None:
    if connection.vendor == "sqlite":  # PostgreSQL's types do not let it in
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET {column} = {value} WHERE id = (SELECT min(id) FROM {table})"
            )
        assert_found(verify(), Proof.TABLES, "cannot be read")
