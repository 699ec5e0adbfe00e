"""The badge tells when the log was last verified, and never more than is known."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client

from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.audit.verification.verify import verify
from killswitch.compliance.verification_badge import FULL_CHECK_STALE_AFTER, STALE_AFTER, Badge
from tests.audit import request_factories
from tests.audit.forging import guards_off
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


# SQLite's clock counts whole milliseconds: without this a verification could seem to be in future.
JUST_NOW = timedelta(milliseconds=2)


def store_verification(
    *, ago: timedelta = JUST_NOW, whole_ago: timedelta = timedelta(), **more: Any
) -> None:
    now, head = datetime.now(UTC), chain.head()
    columns = {
        "ok": True,
        "head_seq": head.seq,
        "head_hash": head.hash,
        "first_bad_seq": None,
    } | more
    Verification.objects.create(
        id=1, at=now - ago, whole_at=now - whole_ago, whole_seq=head.seq, **columns
    )


def test_a_log_that_was_never_verified_is_shown_so(reader: Client) -> None:
    assert Badge.now().tone == "odd"
    assert "Not verified yet" in html(reader.get("/audit/"))


def test_a_verified_log_shows_the_last_event_and_the_age_of_the_verification(
    reader: Client,
) -> None:
    request_factories.denied(request_factories.START)
    store_verification()
    badge = Badge.now()
    assert (badge.tone, badge.words) == ("good", "Verified")
    text = html(reader.get("/audit/"))
    assert "Whole log verified <time data-age datetime=" in text
    assert "</time>, up to event 1." in text
    assert "New events verified" not in text
    assert "<time data-age datetime=" in text


@pytest.mark.parametrize(
    ("ages", "words"),
    [
        ({"ago": STALE_AFTER * 2, "whole_ago": STALE_AFTER * 2}, "Verification overdue"),
        ({"whole_ago": FULL_CHECK_STALE_AFTER * 2}, "Full verification overdue"),
        (
            {"ago": -STALE_AFTER * 2, "whole_ago": -STALE_AFTER * 2},
            "Verification overdue",
        ),  # the clock went back
        ({"whole_ago": -FULL_CHECK_STALE_AFTER * 2}, "Full verification overdue"),
    ],
)
def test_an_old_verification_is_shown_as_old(ages: dict[str, timedelta], words: str) -> None:
    request_factories.denied(request_factories.START)
    store_verification(**ages)
    assert (Badge.now().tone, Badge.now().words) == ("warn", words)


def test_a_failure_is_an_alert_that_names_the_event(reader: Client) -> None:
    for _ in range(3):
        request_factories.denied(request_factories.START)
    with guards_off() as cursor:
        cursor.execute("UPDATE audit_auditevent SET actor = '<b>other</b>' WHERE seq = 2")
    verify(with_tables=False).store(whole=True)
    text = html(reader.get("/audit/"))
    assert 'class="verified badline failed" role="alert"' in text
    assert "Verification failed" in text
    assert '<a href="/audit/events/2/">' in text


def test_events_that_are_missing_since_are_a_failure_before_the_next_verification() -> None:
    for _ in range(3):
        request_factories.denied(request_factories.START)
    store_verification()
    with guards_off() as cursor:
        cursor.execute("DELETE FROM audit_auditevent WHERE seq = 3")
    badge = Badge.now()
    assert badge.is_failure
    assert "up to event 3, but now ends at event 2" in badge.detail


def test_the_badge_tells_the_full_verification_from_that_of_new_events(reader: Client) -> None:
    request_factories.denied(request_factories.START)
    verify(with_tables=False).store(whole=True)
    request_factories.denied(request_factories.START)
    verify(with_tables=False).store(whole=False)
    Verification.objects.update(whole_at=datetime.now(UTC) - timedelta(minutes=43))
    text = html(reader.get("/audit/"))
    last = Verification.objects.get()
    times = re.findall(r"<time data-age datetime=\"([^\"]+)\">", text.partition('id="badge"')[2])
    whole, new = text.index("Whole log verified <time"), text.index("New events verified <time")
    assert whole < text.index("</time>, up to event 1.") < new
    assert new < text.index("</time>, up to event 2.")
    assert [datetime.fromisoformat(time) for time in times[:2]] == [
        at.replace(microsecond=at.microsecond // 1000 * 1000) for at in (last.whole_at, last.at)
    ]


@pytest.mark.parametrize("is_partial", [False, True])
def test_a_lost_protection_is_explained_with_what_to_do(
    reader: Client, *, is_partial: bool
) -> None:
    request_factories.denied(request_factories.START)
    reason = "the trigger audit_events_are_not_changed is missing"
    ago = timedelta(minutes=43 * is_partial)
    store_verification(ok=False, reason=reason, whole_ago=ago + JUST_NOW)
    Verification.objects.filter(whole_at__gt=datetime.now(UTC) - timedelta(minutes=1)).update(
        whole_at=F("at")
    )
    text = html(reader.get("/audit/"))
    meaning = text.index("A protection of the log has been removed or weakened")
    assert meaning < text.index("Do not rely on the log until the cause is known.")
    assert meaning < text.index(f'<p class="small">Technical reason: {reason}')
    assert ("The last full verification before that was at" in text) == is_partial
    assert ("It is not known since when." in text) == (not is_partial)


def test_a_failed_verification_of_events_claims_nothing_about_the_events_before(
    reader: Client,
) -> None:
    request_factories.denied(request_factories.START)
    store_verification(ok=False, reason="event 1 was changed: <b>", first_bad_seq=1)
    text = html(reader.get("/audit/"))
    assert "Events in the log were changed, removed or replaced." in text
    assert "Technical reason: event 1 was changed: &lt;b&gt;" in text
    assert "from that event on" not in text
    assert "It is not known since when." not in text


def test_a_warning_is_addressed_to_the_operator(reader: Client) -> None:
    store_verification(warnings="there are no checkpoints: a truncated log would go unnoticed")
    assert "For the system operator: there are no checkpoints" in html(reader.get("/audit/"))
