"""The table of reviews is compared with the events of the reviews."""

import pytest
from django.db import connection

from killswitch.audit.models import Review
from killswitch.audit.verification.verify import verify
from tests.audit import request_factories
from tests.audit.forging import guards_off, uniqueness_off
from tests.audit.request_factories import START
from tests.audit.review_helpers import marked

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


class TestTheTable:
    """Forged rows."""

    @pytest.mark.parametrize(
        ("statement", "reason"),
        [
            ("UPDATE audit_review SET state = 'REVIEWED' WHERE event_seq = 2", "differs: event"),
            ("UPDATE audit_review SET note = 'other' WHERE event_seq = 2", "differs: event"),
            ("UPDATE audit_review SET by = 'other' WHERE event_seq = 1", "differs: event"),
            ("DELETE FROM audit_review WHERE event_seq = 1", "the review of event 1 is missing"),
            (
                "UPDATE audit_review SET said_in = 4, by = 'x' WHERE event_seq = 2",
                "event 2 has a review row, but no event",
            ),
            (
                "UPDATE audit_review SET event_seq = 3 WHERE event_seq = 1",
                "has a review row, but no event",
            ),
        ],
    )
    def test_a_row_that_differs_from_its_event_is_found(self, statement: str, reason: str) -> None:
        for _ in range(3):
            request_factories.denied(START)
        marked("REVIEWED", 1)
        marked("QUERIED", 2, note="Why?")
        assert verify(with_tables=True).ok
        with guards_off() as cursor:
            cursor.execute(statement)
        result = verify(with_tables=True)
        assert not result.ok
        assert reason in " ".join(finding.reason for finding in result.findings)

    def test_two_rows_for_one_event_are_found(self) -> None:
        request_factories.denied(START)
        marked("QUERIED", 1, note="Why?")
        with uniqueness_off("audit_review"):
            twin = Review.objects.get()
            twin.state, twin.note = "CLOSED", "answered: fine"
            twin.save(force_insert=True)
            assert "event 1 has 2 review rows" in verify().reason

    def test_a_row_that_cannot_be_read_is_found(self) -> None:
        request_factories.denied(START)
        marked("REVIEWED", 1)
        if connection.vendor == "sqlite":  # PostgreSQL's types do not let it in
            with connection.cursor() as cursor:
                cursor.execute("UPDATE audit_review SET at = '2026-99-99 08:00:00'")
            assert "cannot be read" in verify().reason

    @pytest.mark.usefixtures("small_batches")
    def test_all_batches_are_compared(self) -> None:
        for _ in range(5):
            request_factories.denied(START)
        for seq in range(1, 6):
            marked("QUERIED", seq, note="Why?")
        marked("CLOSED", 2, note="So.")
        assert verify().ok
        Review.objects.filter(event_seq=5).update(note="other")
        assert "the review of event 5 differs" in verify().reason
