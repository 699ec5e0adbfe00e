"""The database itself refuses every change of the log but an append."""

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from tests.audit import forging
from tests.audit.log import record

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
TABLE = forging.TABLE


@pytest.fixture(autouse=True)
def _three_events() -> None:
    record(*(NewEvent(kind=EventKind.SIGNED_IN, data={"number": number}) for number in range(3)))


CHANGES = [
    f"UPDATE {TABLE} SET actor = 'somebody else' WHERE seq = 2",
    f"UPDATE {TABLE} SET actor = actor",
    f"UPDATE {TABLE} SET actor = 'nobody' WHERE seq = 99",
    f"DELETE FROM {TABLE} WHERE seq = 3",
    f"DELETE FROM {TABLE}",
]
CHANGES_OF = {
    "sqlite": [
        f"UPDATE OR REPLACE {TABLE} SET seq = 1 WHERE seq = 2",
        f"UPDATE OR IGNORE {TABLE} SET actor = 'x' WHERE seq = 2",
    ],
    "postgresql": [
        f"TRUNCATE {TABLE}",
        f"TRUNCATE {TABLE} CASCADE",
        f"SET session_replication_role = replica; DELETE FROM {TABLE}",
        f"WITH gone AS (DELETE FROM {TABLE} RETURNING *) SELECT * FROM gone",
        f"MERGE INTO {TABLE} USING (SELECT 2 AS n) s ON seq = n WHEN MATCHED THEN DELETE",
    ],
}


def _is_refused(statement: str) -> bool:
    # An UPDATE that finds no row fires no trigger on SQLite, and changes nothing either.
    before = [forging.row(seq) for seq in (1, 2, 3)]
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
            changed: int = cursor.rowcount
    except DatabaseError:
        return [forging.row(seq) for seq in (1, 2, 3)] == before
    return changed == 0


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_is_refused(statement: str) -> None:
    assert _is_refused(statement)


def test_the_ways_around_a_plain_guard_are_refused_too() -> None:
    for statement in CHANGES_OF[connection.vendor]:
        assert _is_refused(statement), statement
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("RESET session_replication_role")
    assert AuditEvent.objects.count() == 3


def _an_event(**columns: Any) -> dict[str, Any]:
    newest = forging.row(3)
    fitting = newest | {"seq": 4, "previous": newest["hash"], "hash": "a" * 64}
    return fitting | columns


def _insert(event: dict[str, Any], verb: str = "INSERT") -> None:
    names, marks = ", ".join(forging.COLUMNS), ", ".join(["%s"] * len(forging.COLUMNS))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"{verb} INTO {TABLE} ({names}) VALUES ({marks})",
            [event[name] for name in forging.COLUMNS],
        )


@pytest.mark.parametrize(
    "columns",
    [{"seq": 5}, {"seq": 3}, {"seq": 0}, {"seq": -1}, {"previous": "0" * 64}, {"previous": ""}],
)
@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
def test_only_the_next_event_can_be_inserted(columns: dict[str, Any], verb: str) -> None:
    if connection.vendor == "postgresql":
        verb = "INSERT"  # it knows no other
    before = [forging.row(seq) for seq in (1, 2, 3)]
    with pytest.raises(DatabaseError, match="only appended"):
        _insert(_an_event(**columns), verb)
    assert AuditEvent.objects.count() == 3
    assert [forging.row(seq) for seq in (1, 2, 3)] == before


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE"])
def test_the_hash_of_another_event_is_refused(verb: str) -> None:
    if connection.vendor == "postgresql":
        verb = "INSERT"
    with pytest.raises(DatabaseError):
        _insert(_an_event(hash=forging.row(1)["hash"]), verb)
    assert AuditEvent.objects.count() == 3


def test_the_first_event_continues_nothing() -> None:
    first = forging.row(1)
    with forging.guards_off() as cursor:
        cursor.execute(f"DELETE FROM {TABLE}")
    with pytest.raises(DatabaseError, match="only appended"):
        _insert(first | {"previous": "f" * 64})
    _insert(first)
    assert AuditEvent.objects.get().seq == 1


def test_the_next_event_can_be_inserted() -> None:
    _insert(_an_event())
    assert AuditEvent.objects.count() == 4
