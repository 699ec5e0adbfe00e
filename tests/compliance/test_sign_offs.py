"""Signing off a period: one event that records what was shown, and a report to keep."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from killswitch.audit import review, sign_off_period
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.review import ReviewInput
from killswitch.audit.sign_off_period import Period
from killswitch.audit.verification.verify import verify
from killswitch.compliance import sign_offs
from tests.audit import request_factories
from tests.audit.export.export_helpers import nothing_can_be_written
from tests.audit.forging import guards_off
from tests.audit.log import record
from tests.audit.request_factories import CARL, START, request
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

ADDRESS = "/audit/sign-offs/"
DAY = {"from": "2026-03-02", "to": "2026-03-02"}


def day(number: int = 0) -> Period:
    """Return one day of the test log as a period."""
    begin = START.replace(hour=0, minute=0) + timedelta(days=number)
    return Period.of(from_at=begin, to_at=begin + timedelta(days=1))


def fill_log() -> None:
    """Record two days: two requests and a denial, then a denial."""
    request(0, at=START)
    request(1, at=START + timedelta(minutes=1), status="REJECTED")
    request_factories.denied(START + timedelta(minutes=2))
    request_factories.denied(START + timedelta(days=1))


def record_reviews(*seqs: int, mark: str = "REVIEWED") -> None:
    review.record_review(ReviewInput(mark=mark, seqs=seqs, note="n", by=CARL, origin={}))


def sign(reader: Client, **fields: str) -> Any:
    text = html(reader.get(ADDRESS, DAY))
    head = re.search(r'name="head" value="([0-9a-f]{64})"', text)
    assert head, text
    return reader.post(ADDRESS, DAY | {"head": head[1], "note": ""} | fields)


def test_a_period_is_counted_from_its_first_event_to_its_last() -> None:
    fill_log()
    record_reviews(1, 3)
    record_reviews(4, mark="QUERIED")
    period = day()
    assert (period.first_seq, period.last_seq, period.events) == (1, 7, 7)
    assert period.head == AuditEvent.objects.get(seq=7).hash
    assert period.kinds == {"ATTEMPT": 2, "DENIED": 1, "FINISHED": 2, "REQUESTED": 2}
    assert period.outcomes == {"CONFIRMED": 1, "REJECTED": 1}
    counts = period.review
    assert (counts.needing, counts.reviewed, counts.queried, counts.closed) == (5, 2, 1, 0)
    assert counts.unreviewed == 2
    assert period.needs_note


def test_outcomes_of_holds_are_counted_and_shown_apart(reader: Client) -> None:
    fill_log()
    for number, status in enumerate(("CONFIRMED", "CONFIRMED", "UNKNOWN"), 2):
        request(number, at=START + timedelta(minutes=5), status=status, by_hold=True)
    period = day()
    assert period.outcomes == {"CONFIRMED": 1, "REJECTED": 1}
    assert period.hold_outcomes == {"CONFIRMED": 2, "UNKNOWN": 1}
    assert period.review.needing == 5 + 1 + 1, "of the Hold's only the end that leaves orders open"
    assert "Status recorded at the end of each request of a Hold" in html(reader.get(ADDRESS, DAY))
    event = sign_off_period.sign_off(period=period, note="n", by=CARL, origin={})
    assert json.loads(event.data)["hold_outcomes"] == {"CONFIRMED": 2, "UNKNOWN": 1}
    assert period.not_confirmed == json.loads(event.data)["not_confirmed"] == 1 + 1
    assert "Not confirmed, or orders open again" in html(reader.get(f"{ADDRESS}{event.seq}/"))
    assert "Status recorded at the end of each request of a Hold" in html(
        reader.get(f"{ADDRESS}{event.seq}/")
    )


def test_the_event_carries_what_was_counted_and_the_head() -> None:
    fill_log()
    verify(with_tables=False).store(whole=True)
    event = sign_off_period.sign_off(
        period=day(), note="Two open.", by=CARL, origin={"address": "10.0.0.7"}
    )
    data = json.loads(event.data)
    assert (event.kind, event.actor) == (EventKind.PERIOD_SIGNED_OFF, CARL.name)
    assert data["head"] == AuditEvent.objects.get(seq=7).hash
    assert (data["first_seq"], data["last_seq"], data["events"]) == (1, 7, 7)
    assert data["from"] == "2026-03-02T00:00:00.000000Z"
    assert data["to"] == "2026-03-03T00:00:00.000000Z"
    assert data["review"] == {
        "needing": 5,
        "reviewed": 0,
        "queried": 0,
        "closed": 0,
        "unreviewed": 5,
    }
    assert data["verification"]["ok"] is True
    assert (data["note"], data["address"], data["follows"]) == ("Two open.", "10.0.0.7", None)
    assert verify(with_tables=False).ok


def test_a_period_that_is_complete_and_verified_needs_no_note() -> None:
    fill_log()
    with pytest.raises(sign_off_period.SignOffRefused, match="This period has unreviewed events"):
        sign_off_period.sign_off(period=day(), note="", by=CARL, origin={})
    record_reviews(1, 3, 4, 6, 7)
    assert day().needs_note  # not verified yet
    verify(with_tables=False).store(whole=True)
    assert not day().needs_note
    sign_off_period.sign_off(period=day(), note="", by=CARL, origin={})


def test_a_log_that_fails_verification_is_signed_off_only_with_a_note() -> None:
    fill_log()
    record_reviews(1, 3, 4, 6, 7)
    with guards_off() as cursor:
        cursor.execute("UPDATE audit_auditevent SET actor = 'other' WHERE seq = 2")
    verify(with_tables=False).store(whole=True)
    period = day()
    assert period.needs_note
    assert not period.is_sound
    assert period.verification
    assert period.verification["first_bad_seq"] == 2


def test_the_events_between_two_periods_are_shown() -> None:
    fill_log()
    request_factories.denied(START + timedelta(days=2))
    assert day().gap is None
    assert day(1).gap == (1, 7)
    sign_off_period.sign_off(period=day(), note="n", by=CARL, origin={})
    assert day(1).gap is None
    assert day(2).gap == (8, 8)


def test_a_gap_is_shown_also_when_many_later_periods_were_signed_off_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sign_offs, "MAX_LISTED", 1)
    fill_log()
    for number in (2, 4, 6):
        request_factories.denied(START + timedelta(days=number))
    sign_off_period.sign_off(period=day(), note="n", by=CARL, origin={})
    for number in (4, 6):
        sign_off_period.sign_off(period=day(number), note="n", by=CARL, origin={})
    assert day(2).follows == 7


def test_a_clock_that_was_set_back_does_not_exclude_an_event() -> None:
    request_factories.denied(START)
    request_factories.denied(START - timedelta(days=3))  # appended later, dated earlier
    request_factories.denied(START + timedelta(minutes=1))
    period = day()
    assert (period.first_seq, period.last_seq, period.events) == (1, 3, 3)
    assert period.kinds == {"DENIED": 3}


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ({}, 200, "No period has been signed off"),
        ({"from": "2026-03-02"}, 400, "Enter the first and the last day"),
        ({"from": "x<b>", "to": "2026-03-02"}, 400, "From: “x&lt;b&gt;” is not a day."),
        (
            {"from": "2026-03-04", "to": "2026-03-03"},
            400,
            "To: The range is empty. Choose an earlier start or a later end.",
        ),
        ({"from": "2025-01-01", "to": "2025-01-02"}, 400, "There are no events in this period."),
        ({"from": "2026-03-02", "to": "9000-01-01"}, 400, "This period is not over yet"),
        ({"from": "2026-03-02", "to": "9999-12-31"}, 400, "This period is not over yet"),
    ],
)
def test_an_invalid_period_is_explained_and_kept(
    reader: Client, query: dict[str, str], status: int, reason: str
) -> None:
    fill_log()
    for answer in (reader.get(ADDRESS, query), reader.post(ADDRESS, query)):
        text = html(answer)
        assert answer.status_code == (status if answer.wsgi_request.method == "GET" else 400)
        assert reason in text
        for value in query.values():
            assert f'value="{value.replace("<b>", "&lt;b&gt;")}"' in text
    assert not AuditEvent.objects.filter(kind=EventKind.PERIOD_SIGNED_OFF).exists()


def test_a_period_is_shown_signed_off_and_reported(reader: Client) -> None:
    fill_log()
    preview = html(reader.get(ADDRESS, DAY))
    for words in (
        "Preview: events 1 to 7",
        "The log has not been verified yet",
        "Not reviewed",
    ):
        assert words in preview
    answer = sign(reader, note="Zoë: <b>five</b> are left.")
    assert answer.status_code == 303
    assert answer["Location"] == "/audit/sign-offs/9/"
    report = html(reader.get(answer["Location"]))
    for words in (
        "Period signed off",
        "Carl Ito (carl)",
        "2026-03-02 00:00:00",
        "1 to 7 (7)",
        "Zoë: &lt;b&gt;five&lt;/b&gt; are left.",
        AuditEvent.objects.get(seq=7).hash,
        AuditEvent.objects.get(seq=9).hash,
        "Event 7 in the log still has this hash.",
        "Cancel requested",
        "Rejected",
    ):
        assert words in report
    assert '<a href="/audit/sign-offs/9/">Event 9</a>' in html(reader.get(ADDRESS))


def test_a_missing_or_too_long_note_keeps_the_period_and_the_text(reader: Client) -> None:
    fill_log()
    assert "This period has unreviewed events" in html(sign(reader, note="  "))
    answer = sign(reader, note="word " * 300)
    text = html(answer)
    assert answer.status_code == 400
    assert "longer than 1000" in text
    assert "word word" in text
    assert "Preview: events 1 to 7" in text


def test_a_period_that_has_changed_since_it_was_shown_is_not_signed_off(reader: Client) -> None:
    fill_log()
    answer = sign(reader, note="n", head="0" * 64)
    assert answer.status_code == 400
    assert "are not the ones you were shown" in html(answer)
    assert not AuditEvent.objects.filter(kind=EventKind.PERIOD_SIGNED_OFF).exists()


def test_it_is_refused_when_the_event_cannot_be_written(reader: Client) -> None:
    fill_log()
    head = AuditEvent.objects.get(seq=7).hash
    with nothing_can_be_written():
        answer = reader.post(ADDRESS, DAY | {"head": head, "note": "kept"})
        text = html(answer)
    assert answer.status_code == 503
    assert "the period was not signed off" in text
    assert ">kept</textarea>" in text


def test_a_report_warns_when_the_log_has_changed_since(reader: Client) -> None:
    fill_log()
    assert sign(reader, note="n").status_code == 303
    with guards_off() as cursor:
        cursor.execute("UPDATE audit_auditevent SET hash = 'x' WHERE seq = 7")
    text = html(reader.get("/audit/sign-offs/9/"))
    assert "The log has changed since this sign-off" in text
    assert "still has this hash" not in text


@pytest.mark.parametrize("seq", [1, 99, 10**25])
def test_only_a_sign_off_has_a_report(reader: Client, seq: int) -> None:
    fill_log()
    assert reader.get(f"/audit/sign-offs/{seq}/").status_code == 404


def test_a_sign_off_with_unusual_data_is_shown(reader: Client) -> None:
    for data in ({}, {"kinds": 3, "review": [1], "note": 5}, {"kinds": {"OF_TOMORROW": 2}}):
        record(NewEvent(kind=EventKind.PERIOD_SIGNED_OFF, data=data))
    for seq in (1, 2, 3):
        assert reader.get(f"/audit/sign-offs/{seq}/").status_code == 200
    assert reader.get(ADDRESS).status_code == 200


def test_the_period_of_today_is_not_over(reader: Client) -> None:
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    text = html(reader.get(ADDRESS, {"from": today, "to": today}))
    assert "This period is not over yet" in text
