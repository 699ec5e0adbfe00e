"""Values of another type than their column are found in every table of SQLite."""

import pytest
from django.db import connection

from killswitch.audit.verification import sqlite_types
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify
from killswitch.exchanges.models import Exchange
from tests.audit.assertions import Requests, assert_good, only

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _sqlite_only() -> None:
    assert connection.vendor == "sqlite", "PostgreSQL checks types itself"


def set_to(table: str, column: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT min(rowid) FROM {table})"
        )


def test_an_exchange_that_is_neither_on_nor_off_is_found(requests: Requests) -> None:
    """Python reads it as off, as the log says; SQL selects it as on."""
    exchange = Exchange.objects.create(exchange_id="LMAX", enabled=False)
    assert sqlite_types.first_wrongly_typed_value() == ""
    Exchange.objects.exclude(pk=exchange.pk).update(position=1)
    set_to("exchanges_exchange", "enabled", "2")
    assert (
        "exchanges_exchange: enabled is stored as integer 2"
        in sqlite_types.first_wrongly_typed_value()
    )


@pytest.mark.parametrize("value", ["2", "-1", "0.5", "'true'", "x'31'", "x'30'"])
def test_a_boolean_that_is_neither_true_nor_false_is_found(requests: Requests, value: str) -> None:
    set_to("cancels_batch", "everywhere", value)
    assert "cancels_batch: everywhere is stored as" in sqlite_types.first_wrongly_typed_value()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("cancels_batch", "by_name"),
        ("cancels_batch", "asked_at"),
        ("cancels_cancelrequest", "uuid"),
        ("cancels_cancelrequest", "conclusion"),
        ("alarms_alarm", "title"),
        ("accounts_user", "full_name"),
    ],
)
def test_text_stored_as_bytes_is_found(requests: Requests, table: str, column: str) -> None:
    assert_good(verify())
    set_to(table, column, f"CAST({column} AS BLOB)")
    result = verify()
    assert only(result) is Proof.TABLES
    assert verify(with_tables=False).ok


def test_all_values_that_the_product_writes_have_their_type(requests: Requests) -> None:
    assert sqlite_types.first_wrongly_typed_value() == ""
