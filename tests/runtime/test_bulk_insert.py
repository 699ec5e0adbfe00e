"""Rows inserted at once are as Django would have stored them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from killswitch.cancels.models import Attempt, Batch, CancelRequest
from killswitch.exchanges.models import Exchange
from killswitch.runtime.bulk_insert import MAX_ROWS, insert_rows

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def some_requests(count: int = 3) -> list[CancelRequest]:
    batch = Batch.objects.create(by_name="olga", asked_at=AT, key=f"{Batch.objects.count()}")
    exchanges = [
        Exchange.objects.create(exchange_id=f"X{number}-{batch.pk}") for number in range(count)
    ]
    return [
        CancelRequest(
            batch=batch,
            configured_exchange=exchange,
            exchange_id=exchange.exchange_id,
            message="“größer” 🙂",
            open_before=None if number % 2 else number,
            open_before_seen_at=None if number % 2 else AT,
        )
        for number, exchange in enumerate(exchanges)
    ]


def some_attempts() -> list[Attempt]:
    request = some_requests(1)[0]
    request.save()
    return [
        Attempt(
            request=request,
            number=number,
            finished_at=AT,
            outcome="UNKNOWN",
            may_have_been_carried_out=number == 2,
            body=bytes([0, 255, number]),
            http_status=200 if number == 2 else None,
        )
        for number in (1, 2, 3)
    ]


def stored(rows: Sequence[Model]) -> list[dict[str, Any]]:
    """Return what the database has, without what differs between any two rows."""
    model = type(rows[0])
    wanted = model._default_manager.filter(pk__in=[row.pk for row in rows]).order_by("pk")
    own = {"id", "uuid", "batch_id", "configured_exchange_id", "exchange_id", "request_id"}
    return [
        {name: value for name, value in values.items() if name not in own}
        for values in wanted.values()
    ]


@pytest.mark.parametrize("some_rows", [some_requests, some_attempts])
def test_the_rows_are_as_django_stores_them(some_rows: Callable[[], list[Any]]) -> None:
    ours, theirs = some_rows(), some_rows()
    insert_rows(ours)
    type(theirs[0])._default_manager.bulk_create(theirs)
    assert stored(ours) == stored(theirs)
    for row in ours:
        assert type(row)._default_manager.get(pk=row.pk) == row
        assert not row._state.adding


def test_the_keys_follow_the_order_of_the_rows() -> None:
    requests = some_requests(20)
    insert_rows(requests)
    assert all(before.pk < after.pk for before, after in pairwise(requests))
    ids = dict(CancelRequest.objects.values_list("pk", "exchange_id"))
    assert [ids[request.pk] for request in requests] == [row.exchange_id for row in requests]


def test_one_statement_inserts_many_rows() -> None:
    for count, statements in ((1, 1), (50, 1), (MAX_ROWS, 1), (MAX_ROWS + 1, 2), (0, 0)):
        requests = some_requests(count)
        with CaptureQueriesContext(connection) as queries:
            insert_rows(requests)
        assert len(queries) == statements, count


@pytest.mark.django_db(transaction=True)
def test_a_row_that_breaks_a_constraint_is_refused_with_all_others() -> None:
    requests = some_requests(3)
    requests[1].status = "NO SUCH STATUS"
    with pytest.raises(IntegrityError):
        insert_rows(requests)
    assert not CancelRequest.objects.exists()
