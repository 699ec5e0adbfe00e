"""The table of reviews only repeats what the log says."""

import pytest

from killswitch.audit import review_table
from killswitch.audit.models import Review
from killswitch.audit.verification import verify
from tests.audit import stories
from tests.audit.forging import guards_off
from tests.audit.reviewing import marked
from tests.audit.stories import START, request

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


class TestTheTable:
    """It only repeats what the log says."""

    def test_it_is_rebuilt_from_the_log(self) -> None:
        request(0, at=START)
        stories.denied(START)
        marked("REVIEWED", 1, 3)
        marked("QUERIED", 4, note="Why?")
        marked("CLOSED", 4, note="So.")
        before = list(Review.objects.values())
        Review.objects.all().delete()
        assert review_table.rebuild() == 3
        assert list(Review.objects.values()) == before

    @pytest.mark.parametrize(
        ("forged", "why"),
        [
            ("UPDATE audit_review SET state = 'REVIEWED' WHERE event_seq = 2", "is not what event"),
            ("UPDATE audit_review SET note = 'other' WHERE event_seq = 2", "is not what event"),
            ("UPDATE audit_review SET by = 'somebody' WHERE event_seq = 1", "is not what event"),
            ("DELETE FROM audit_review WHERE event_seq = 1", "the mark of event 1 is gone"),
            (
                "UPDATE audit_review SET event_seq = 3 WHERE event_seq = 1",
                "is marked, and no event",
            ),
        ],
    )
    def test_a_row_that_says_otherwise_is_found(self, forged: str, why: str) -> None:
        for _ in range(3):
            stories.denied(START)
        marked("REVIEWED", 1)
        marked("QUERIED", 2, note="Why?")
        assert verify(with_tables=True).ok
        with guards_off() as cursor:
            cursor.execute(forged)
        verdict = verify(with_tables=True)
        assert not verdict.ok
        assert why in " ".join(finding.reason for finding in verdict.findings)
