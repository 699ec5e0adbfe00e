"""Each review is an event of its own, and the unreviewed events are known."""

import json
import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from killswitch.alarms.models import AlarmKind
from killswitch.audit import review
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.needing_review import NEEDING, needing, needs_review
from killswitch.audit.review import FOLLOWING, REVIEW_ACTIONS, ReviewInput
from killswitch.audit.verification.verify import verify
from killswitch.cancels.conclusion import CALM_REFUSAL
from killswitch.compliance.log_page import of_request, suggested_review
from tests.audit import request_factories
from tests.audit.export.export_helpers import nothing_can_be_written
from tests.audit.log import record
from tests.audit.request_factories import ADA, CARL, START, request
from tests.audit.review_helpers import left, log_of, marked
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


class TestRecording:
    """`record_review`."""

    def test_a_review_is_one_event_that_names_the_reviewed_ones(self) -> None:
        request_factories.denied(START)
        event = marked("QUERIED", 1, note="Who asked for this?")
        assert (event.seq, event.kind, event.actor, event.role) == (
            2,
            "QUERIED",
            CARL.name,
            "COMPLIANCE",
        )
        assert json.loads(event.data) == {
            "address": "10.0.0.7",
            "before": [],
            "events": [1],
            "note": "Who asked for this?",
        }
        row = Review.objects.get()
        assert (row.event_seq, row.state, row.by, row.at, row.review_seq) == (
            1,
            "QUERIED",
            CARL.name,
            event.at,
            2,
        )
        assert verify(with_tables=True).ok

    def test_events_of_one_request_share_a_review_and_others_have_their_own(self) -> None:
        request(0, at=START)
        request_factories.denied(START)
        request_factories.changed(START)
        marked("REVIEWED", 1, 3, 4, 5)
        assert [
            (event.request_id, event.exchange_id, json.loads(event.data)["events"])
            for event in log_of("REVIEWED")
        ] == [(request_factories.uuid(0), "KRAKEN", [1, 3]), ("", "", [4]), ("", "BITMEX", [5])]

    def test_a_second_review_names_the_first_and_changes_no_event(self) -> None:
        request_factories.denied(START)
        first = marked("QUERIED", 1, note="Why?")
        marked("CLOSED", 1, note="A mistake, explained on the phone.")
        assert json.loads(log_of("CLOSED")[0].data)["before"] == [first.seq]
        assert AuditEvent.objects.get(seq=first.seq).data == first.data
        assert Review.objects.get().state == "CLOSED"
        assert verify(with_tables=True).ok

    @pytest.mark.parametrize("before", ["", *REVIEW_ACTIONS])
    @pytest.mark.parametrize("mark", REVIEW_ACTIONS)
    def test_only_allowed_actions_follow_each_state(self, before: str, mark: EventKind) -> None:
        request_factories.denied(START)
        path = {"": [], "REVIEWED": ["REVIEWED"], "QUERIED": ["QUERIED"]}
        for action in path.get(before, ["QUERIED", "CLOSED"]):
            marked(action, 1, note="n")
        if mark in FOLLOWING[before]:
            marked(mark, 1, note="n")
            assert Review.objects.get().state == mark
            return
        events = AuditEvent.objects.count()
        with pytest.raises(review.ReviewConflict):
            marked(mark, 1, note="n")
        assert AuditEvent.objects.count() == events

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"seqs": []}, "Select at least one event"),
            ({"mark": "DELETED"}, "Choose Mark as reviewed, Raise query or Close query."),
            ({"seqs": [2]}, "Event 2 does not need a review"),
            ({"seqs": [1, 99]}, "Event 99 does not need a review"),
            ({"mark": "QUERIED", "note": ""}, "A note is required"),
            ({"note": "x" * 1001}, "longer than 1000"),
            ({"seqs": list(range(1, 600))}, "at most 500 events"),
        ],
    )
    def test_an_invalid_review_is_refused_and_leaves_no_trace(
        self, change: dict[str, Any], reason: str
    ) -> None:
        request_factories.denied(START)
        record(NewEvent(kind=EventKind.SIGNED_IN))
        values: dict[str, Any] = {
            "mark": "REVIEWED",
            "seqs": [1],
            "note": "n",
            "by": CARL,
            "origin": {},
        }
        with pytest.raises(review.ReviewRefused, match=reason):
            review.record_review(ReviewInput(**(values | change)))
        assert not Review.objects.exists()
        assert AuditEvent.objects.count() == 2

    def test_one_conflict_refuses_the_whole_review(self) -> None:
        request_factories.denied(START)
        request_factories.denied(START)
        marked("REVIEWED", 2)
        with pytest.raises(
            review.ReviewConflict, match=r"Event 2 is already reviewed \(by Carl Ito"
        ):
            marked("REVIEWED", 1, 2)
        assert left() == [1]

    def test_no_review_exists_when_the_log_takes_no_event(self) -> None:
        request_factories.denied(START)
        with nothing_can_be_written(), pytest.raises(review.ReviewNotRecorded):
            marked("REVIEWED", 1)

    def test_a_review_of_ones_own_action_says_so(self) -> None:
        request_factories.denied(START)
        event = marked("REVIEWED", 1, by=ADA)
        assert json.loads(event.data)["own"] == [1]


def test_for_every_kind_it_was_decided_whether_it_needs_a_review() -> None:
    """A new kind fails here until it is in one of the two sets."""
    needing_none = {
        EventKind.STARTED,
        EventKind.STOPPED,
        EventKind.PUBLISH_FAILED,
        EventKind.TAKEN_OVER,
        EventKind.ATTEMPT,
        EventKind.SECOND_LOOK,
        EventKind.TELEPHONED,
        EventKind.BREAK_GLASS_RECORDED,  # its alarm needs one
        EventKind.RESTORED,  # likewise
        EventKind.HOLD_EPISODE,
        EventKind.HOLD_SEES_AGAIN,
        EventKind.ALARM_RAISED,  # unless it belongs to no request
        EventKind.ALARM_TOLD,
        EventKind.ALARM_ACKNOWLEDGED,  # unless by the person concerned
        EventKind.ALARM_RESOLVED,
        EventKind.ALARM_OVERDUE,  # unless it is the first time
        EventKind.SIGNED_IN,
        EventKind.SIGN_IN_FAILED,
        EventKind.SIGNED_OUT,
        EventKind.EXPORT_COMPLETED,
        EventKind.REVIEWED,
        EventKind.QUERIED,
        EventKind.QUERY_ANSWERED,
        EventKind.CLOSED,
        EventKind.PERIOD_SIGNED_OFF,
    }
    assert NEEDING | needing_none == set(EventKind)
    assert not NEEDING & needing_none


@pytest.mark.parametrize(
    ("kind", "data", "needs"),
    [
        (EventKind.ALARM_OVERDUE, {"level": 1, "first": True}, True),
        (EventKind.ALARM_OVERDUE, {"level": 2, "first": False}, False),
        (EventKind.ALARM_ACKNOWLEDGED, {"by_person_concerned": True}, True),
        (EventKind.ALARM_ACKNOWLEDGED, {"by_person_concerned": False}, False),
        (EventKind.ALARM_ACKNOWLEDGED, {"note": '"by_person_concerned":true'}, False),
    ],
)
def test_unanswered_alarms_and_own_acknowledgements_need_a_review(
    kind: EventKind, data: dict[str, Any], needs: bool
) -> None:
    record(NewEvent(kind=kind, data=data))
    assert left() == [1] * needs
    check_each_event()


def check_each_event() -> None:
    """The condition on one event is the condition of the query."""
    found = {event.seq for event in AuditEvent.objects.filter(needing())}
    assert found == {event.seq for event in AuditEvent.objects.all() if needs_review(event)}


class TestUnreviewed:
    """The filter "unreviewed"."""

    def test_every_kind_that_needs_a_review_is_unreviewed_until_it_has_one(self) -> None:
        for kind in EventKind:
            record(NewEvent(kind=kind))
        needing = {AuditEvent.objects.get(seq=seq).kind for seq in left()}
        assert needing == NEEDING | {EventKind.ALARM_RAISED}
        assert {
            EventKind.REQUESTED,
            EventKind.FINISHED,
            EventKind.DENIED,
            EventKind.ROLE_CHANGED,
        } <= needing
        marked("REVIEWED", *left())
        assert left() == []

    def test_an_alarm_of_a_request_belongs_to_the_request(self) -> None:
        record(NewEvent(kind=EventKind.ALARM_RAISED, request_id=request_factories.uuid(1)))
        assert left() == []

    @pytest.mark.parametrize(
        ("status", "conclusion", "is_left"),
        [
            ("CONFIRMED", "No open orders are left.", False),
            ("REJECTED", CALM_REFUSAL, False),
            ("REJECTED", "The EMS rejected the cancel.", True),
            ("RESIDUAL", CALM_REFUSAL, True),
            ("UNKNOWN", "x", True),
        ],
    )
    def test_of_the_requests_of_a_hold_only_ends_with_orders_open_are_left(
        self, status: str, conclusion: str, is_left: bool
    ) -> None:
        """A Hold may make thousands of them; a person's request is always reviewed."""
        for origin in ("HOLD", "BROWSER"):
            data = {"origin": origin, "conclusion": conclusion, "reason": 'x "origin":"HOLD"'}
            record(
                NewEvent(kind=EventKind.REQUESTED, status="REQUESTED", data=data),
                NewEvent(kind=EventKind.FINISHED, status=status, data=data),
            )
        assert left() == ([2, 3, 4] if is_left else [3, 4])
        check_each_event()

    @pytest.mark.parametrize("kind", AlarmKind)
    @pytest.mark.parametrize("request_id", ["", request_factories.uuid(1)])
    def test_alarms_of_holds_are_left_where_no_other_event_says_the_same(
        self, kind: AlarmKind, request_id: str
    ) -> None:
        data = {"alarm_kind": str(kind), "title": '"alarm_kind":"HOLD_BLIND"'}
        record(NewEvent(kind=EventKind.ALARM_RAISED, request_id=request_id, data=data))
        repeated = {AlarmKind.HOLD_BLIND, AlarmKind.HOLD_REMINDER}
        later = {AlarmKind.HOLD_TRADING, AlarmKind.REOPENED}
        assert bool(left()) is (kind in later or not (request_id or kind in repeated))
        check_each_event()

    def test_an_event_added_to_a_reviewed_request_needs_its_own_review(self) -> None:
        request(0, at=START, status="")
        marked("REVIEWED", 1)
        assert left() == []
        finished = NewEvent(
            kind=EventKind.FINISHED, request_id=request_factories.uuid(0), status="UNKNOWN"
        )
        record(finished)
        assert left() == [4]

    def test_a_query_is_no_longer_unreviewed_and_is_open(self, reader: Client) -> None:
        request_factories.denied(START)
        marked("QUERIED", 1, note="Was it <b>meant</b>?")
        assert left() == []
        text = html(reader.get("/audit/review/"))
        assert "Open queries" in text
        assert "Was it &lt;b&gt;meant&lt;/b&gt;?" in text
        marked("CLOSED", 1, note="Yes.")
        assert "No open queries" in html(reader.get("/audit/review/"))

    def test_unreviewed_events_are_counted_by_kind_and_linked(self, reader: Client) -> None:
        for _ in range(3):
            request_factories.denied(START)
        marked("REVIEWED", 2)
        text = html(reader.get("/audit/review/"))
        assert "2 events to review" in text
        assert '<a href="/audit/?kind=DENIED&amp;unreviewed=1">Access denied</a> <b>2</b>' in text

    def test_a_request_suggests_unreviewed_events_before_queried_ones(self) -> None:
        request(0, at=START)
        assert (suggestion := suggested_review(of_request(request_factories.uuid(0))))
        assert (suggestion.seqs, suggestion.marks) == ([1, 3], ["REVIEWED", "QUERIED"])
        marked("QUERIED", 3, note="Late?")
        assert (suggestion := suggested_review(of_request(request_factories.uuid(0))))
        assert (suggestion.seqs, suggestion.marks, suggestion.title) == (
            [1],
            ["REVIEWED", "QUERIED"],
            "Review event 1",
        )
        marked("REVIEWED", 1)
        assert (suggestion := suggested_review(of_request(request_factories.uuid(0))))
        assert (suggestion.seqs, suggestion.marks) == ([3], ["QUERIED", "CLOSED"])
        assert suggested_review([]) is None


@pytest.mark.django_db(transaction=True)
def test_of_two_simultaneous_reviews_one_is_a_conflict() -> None:
    request_factories.denied(START)
    results: list[str] = []
    barrier = threading.Barrier(2)

    def review_it() -> None:
        try:
            barrier.wait(timeout=10)
            marked("REVIEWED", 1)
            results.append("recorded")
        except review.ReviewConflict:
            results.append("conflict")
        finally:
            connection.close()

    threads = [threading.Thread(target=review_it) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(results) == ["conflict", "recorded"]
    assert len(log_of("REVIEWED")) == 1
