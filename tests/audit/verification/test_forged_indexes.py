"""Indexes of SQLite that disagree with their table are found, though the walk does not use them."""

from collections.abc import Iterator

import pytest
from django.db import connection

from killswitch.audit.chain import Head, NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.verification.findings import Proof
from killswitch.audit.verification.verify import verify, verify_newest
from tests.audit import forging
from tests.audit.assertions import assert_good, only
from tests.audit.log import record

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _some_events() -> Iterator[None]:
    assert connection.vendor == "sqlite", "PostgreSQL does not allow such changes of its catalogue"
    record(
        *(
            NewEvent(kind=kind)
            for kind in (EventKind.SIGNED_IN, EventKind.DENIED, EventKind.SIGNED_OUT)
        )
    )
    assert_good(verify())
    yield
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA writable_schema = RESET")


def test_an_index_that_hides_events_from_the_filters_is_found() -> None:
    with forging.index_that_leaves_out("audit_kind", "kind = 'DENIED'"):
        assert not AuditEvent.objects.filter(kind=EventKind.DENIED).exists()
        result = verify()
    assert only(result) is Proof.GUARDS
    assert "missing from index audit_kind" in result.reason


@pytest.mark.django_db(transaction=True)
def test_an_index_that_hides_events_is_found_on_another_processor() -> None:
    with forging.index_that_leaves_out("audit_kind", "kind = 'DENIED'"):
        result = verify(on_two_processors=True)
    assert only(result) is Proof.GUARDS
    assert "missing from index audit_kind" in result.reason
    assert_good(verify(on_two_processors=True))


def test_a_second_row_that_only_the_filters_find_is_found() -> None:
    forged = forging.rehash(forging.row(2) | {"kind": "SIGNED_IN", "actor": "Olga Ray (olga)"})
    with forging.row_past_the_primary_key(forged):
        assert AuditEvent.objects.filter(actor="Olga Ray (olga)").exists()
        result = verify()
    assert Proof.GUARDS in {finding.proof for finding in result.findings}
    assert any("disagree" in finding.reason for finding in result.findings)


def test_the_newest_events_are_verified_without_reading_the_whole_file() -> None:
    with forging.index_that_leaves_out("audit_kind", "kind = 'DENIED'"):
        assert_good(verify_newest(Head()))
