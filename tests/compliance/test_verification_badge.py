"""The badge says when the log was last verified, and never more than is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.audit.verification import last_result
from killswitch.audit.verification.verify import verify
from killswitch.compliance.verification_badge import FULL_CHECK_STALE_AFTER, STALE_AFTER, Badge
from tests.audit import request_factories
from tests.audit.forging import guards_off
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


# SQLite's own clock counts whole milliseconds: a later one could seem to be younger than now.
JUST_NOW = timedelta(milliseconds=2)


def found(*, ago: timedelta = JUST_NOW, whole_ago: timedelta = timedelta(), **more: Any) -> None:
    now, head = datetime.now(UTC), chain.head()
    facts = {"ok": True, "head_seq": head.seq, "head_hash": head.hash, "first_bad_seq": None} | more
    Verification.objects.create(
        id=1, at=now - ago, whole_at=now - whole_ago, whole_seq=head.seq, **facts
    )


def test_a_log_that_nobody_verified_says_so(reader: Client) -> None:
    assert Badge.now().tone == "odd"
    assert "Not verified yet" in html(reader.get("/audit/"))


def test_a_verified_log_says_up_to_where_and_how_long_ago(reader: Client) -> None:
    request_factories.denied(request_factories.START)
    found()
    badge = Badge.now()
    assert (badge.tone, badge.words) == ("good", "Verified")
    text = html(reader.get("/audit/"))
    assert "up to event 1," in text
    assert "<time data-age datetime=" in text


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        ({"ago": STALE_AFTER * 2, "whole_ago": STALE_AFTER * 2}, "Not verified lately"),
        ({"whole_ago": FULL_CHECK_STALE_AFTER * 2}, "Not verified whole lately"),
        (
            {"ago": -STALE_AFTER * 2, "whole_ago": -STALE_AFTER * 2},
            "Not verified lately",
        ),  # the clock was put back
    ],
)
def test_an_old_verification_is_shown_as_old(ages: dict[str, timedelta], words: str) -> None:
    request_factories.denied(request_factories.START)
    found(**ages)
    assert (Badge.now().tone, Badge.now().words) == ("warn", words)


def test_a_failure_cannot_be_overlooked_and_names_the_event(reader: Client) -> None:
    for _ in range(3):
        request_factories.denied(request_factories.START)
    with guards_off() as cursor:
        cursor.execute("UPDATE audit_auditevent SET actor = '<b>other</b>' WHERE seq = 2")
    last_result.store(verify(with_tables=False), whole=True)
    text = html(reader.get("/audit/"))
    assert 'class="verified badline failed" role="alert"' in text
    assert "The log does not verify" in text
    assert '<a href="/audit/events/2/">' in text


def test_events_that_are_gone_since_are_a_failure_before_anybody_verifies_again() -> None:
    for _ in range(3):
        request_factories.denied(request_factories.START)
    found()
    with guards_off() as cursor:
        cursor.execute("DELETE FROM audit_auditevent WHERE seq = 3")
    badge = Badge.now()
    assert badge.is_failure
    assert "up to event 3 and ends at 2 now" in badge.detail
