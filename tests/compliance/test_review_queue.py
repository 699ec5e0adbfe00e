"""Review by cancel, and queries that reach the person whom they ask."""

import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.audit import query_answers
from killswitch.audit.chain import Actor, NewEvent
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.reconciliation import reviews
from killswitch.audit.review import ReviewConflict, ReviewRefused
from killswitch.audit.sign_off_period import Period
from killswitch.audit.verification.findings import Finding, no_progress
from killswitch.cancels import reconciliation
from killswitch.compliance.review_queue import ReviewQueue
from killswitch.runtime.revisions import current
from tests import factories
from tests.audit import event_factories, request_factories
from tests.audit.export.export_helpers import nothing_can_be_written
from tests.audit.request_factories import ADA, START, request
from tests.audit.review_helpers import left, log_of, marked
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def olga() -> Client:
    """A risk officer whose events and requests the log has."""
    client = Client(headers={"User-Agent": "Firefox"})
    client.force_login(factories.person(Role.RISK_OFFICER))
    return client


def found() -> list[Finding]:
    """Return how the tables of reviews and requests differ from the log."""
    return [
        *reviews.discrepancies(None, no_progress),
        *reconciliation.discrepancies(None, no_progress),
    ]


def boxes(text: str) -> list[str]:
    return re.findall(r'<input type="checkbox" form="mark" name="event" value="([\d ]+)"', text)


class TestByCancel:
    """One box for all unreviewed events of a cancel."""

    def test_a_cancel_is_reviewed_with_one_box(self, reader: Client) -> None:
        requests = event_factories.live()
        text = html(reader.get("/audit/review/"))
        (box,) = boxes(text)
        of_requests = AuditEvent.objects.exclude(request_id="").values_list("seq", flat=True)
        assert set(map(int, box.split())) == set(left()) & set(of_requests)
        for words in (
            "Cancel on 4 exchanges",
            "1 rejected",
            "1 with orders still open",
            "1 confirmed",
        ):
            assert words in text
        assert "“runaway algorithm”" in text
        assert f'href="/batches/{requests["rejected"].batch.uuid}/"' in text
        answer = reader.post(
            "/audit/review/", {"event": [box], "mark": "REVIEWED", "back": "/audit/review/"}
        )
        assert answer.status_code == 303
        assert not set(left()) & set(of_requests)
        assert boxes(html(reader.get("/audit/review/"))) == []
        assert found() == []

    def test_an_event_that_came_after_the_page_is_not_reviewed_unseen(self, reader: Client) -> None:
        request(0, at=START, status="")
        (box,) = boxes(html(reader.get("/audit/review/")))
        finished = NewEvent(
            kind=EventKind.FINISHED, status="REJECTED", request_id=request_factories.uuid(0)
        )
        late = request_factories.log_at(START + timedelta(minutes=1), finished)
        reader.post("/audit/review/", {"event": [box], "mark": "REVIEWED"})
        assert left() == [late.seq]

    def test_one_box_never_has_more_events_than_one_review_takes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("killswitch.compliance.review_queue.MAX_EVENTS", 2)
        event_factories.live()
        assert [len(cancel.seqs) for cancel in ReviewQueue.now().cancels] == [2]

    def test_nothing_is_lost_when_nothing_was_ticked(self, reader: Client) -> None:
        request(0, at=START)
        form = {"mark": "QUERIED", "note": "Kept <b>", "back": "/audit/review/"}
        answer = reader.post("/audit/review/", form)
        text = html(answer)
        assert answer.status_code == 400
        assert "Nothing is selected. Select at least one event." in text
        assert ">Kept &lt;b&gt;</textarea>" in text
        (box,) = boxes(text)
        refused = html(reader.post("/audit/review/", {**form, "event": box, "note": ""}))
        assert re.search(rf'value="{box}" aria-label="[^"]+" checked', refused)


class TestQueries:
    """A query of compliance reaches the requester, or the actor, and nobody else."""

    def test_the_requester_sees_the_query_answers_it_and_compliance_closes_it(
        self, olga: Client, reader: Client
    ) -> None:
        residual = event_factories.live_for(User.objects.get(username="olga"))["residual"]
        (finished,) = AuditEvent.objects.filter(kind="FINISHED", request_id=str(residual.uuid))
        marked("QUERIED", finished.seq, note="Why <were> orders left?")
        page = f"/requests/{residual.uuid}/"
        for address in ("/", page, "/requests/"):
            assert "Query from compliance" in html(olga.get(address))
        asked = log_of("QUERIED")[0]
        for address in (page, "/audit/queries/"):
            assert "“Why &lt;were&gt; orders left?”" in html(olga.get(address))
        form = {"query": asked.seq, "answer": "The venue was in maintenance.", "back": page}
        answer = olga.post("/audit/queries/", form)
        (event,) = log_of("QUERY_ANSWERED")
        assert answer["Location"] == f"{page}?answered={event.seq}"
        assert f"recorded as event {event.seq}" in html(olga.get(answer["Location"]))
        assert (event.actor, event.request_id) == (asked_user(), str(residual.uuid))
        data = json.loads(event.data)
        assert (data["events"], data["note"], data["before"]) == (
            [finished.seq],
            "The venue was in maintenance.",
            [asked.seq],
        )
        assert "Query from compliance" not in html(olga.get("/"))
        text = html(reader.get("/audit/review/"))
        assert "“Why &lt;were&gt; orders left?”" in text
        assert "Answer: “The venue was in maintenance.”" in text
        assert found() == []
        marked("CLOSED", finished.seq, note="Understood.")
        assert Review.objects.get(event_seq=finished.seq).state == "CLOSED"
        assert found() == []

    def test_an_answered_query_is_still_open_for_the_sign_off(self) -> None:
        denied = request_factories.denied(START)
        query = marked("QUERIED", denied.seq, note="Why?")
        answered(query.seq)
        period = Period.of(from_at=START - timedelta(hours=1), to_at=START + timedelta(hours=1))
        assert period.review.queried == 1
        assert period.needs_note
        with pytest.raises(ReviewConflict, match="open query, answered by"):
            marked("REVIEWED", denied.seq)
        marked("QUERIED", denied.seq, note="Not clear yet.")
        assert [query.text for query in query_answers.unanswered("ada")] == ["Not clear yet."]

    def test_the_actor_is_asked_about_an_event_that_is_not_about_a_request(self) -> None:
        request(0, at=START)
        request_factories.denied(START)
        marked("QUERIED", 1, 3, note="One.")
        marked("QUERIED", 4, note="Two.")
        assert [(q.text, [e.seq for e in q.events]) for q in query_answers.unanswered("olga")] == [
            ("One.", [1, 3])
        ]
        assert [query.text for query in query_answers.unanswered("ada")] == ["Two."]
        for other in ("ray", "carl", "olg", "(olga)", "system", ""):
            assert query_answers.unanswered(other) == []

    def test_another_person_cannot_answer_and_nobody_answers_twice(self, olga: Client) -> None:
        denied = request_factories.denied(START)
        query = marked("QUERIED", denied.seq, note="Why?")
        refused = olga.post("/audit/queries/", {"query": query.seq, "answer": "I <do>."})
        assert refused.status_code == 400
        assert "This query is addressed to another user." in html(refused)
        assert "I &lt;do&gt;." in html(refused)
        assert not log_of("QUERY_ANSWERED")
        answered(query.seq)
        with pytest.raises(ReviewConflict, match="answered or closed"):
            answered(query.seq)
        assert len(log_of("QUERY_ANSWERED")) == 1

    def test_an_answer_leaves_the_other_queries_to_the_same_user_open(self) -> None:
        first, second = (request_factories.denied(START) for _ in range(2))
        query = marked("QUERIED", first.seq, note="Why?")
        marked("QUERIED", second.seq, note="And this?")
        assert json.loads(answered(query.seq).data)["events"] == [first.seq]
        assert [query.text for query in query_answers.unanswered("ada")] == ["And this?"]

    @pytest.mark.parametrize("back", ["", "//other.example/", "https://other.example/", "/x", "/"])
    def test_an_answer_leads_back_only_to_a_page_with_its_form(
        self, olga: Client, back: str
    ) -> None:
        user = User.objects.get(username="olga")
        seq = request_factories.log_at(START, NewEvent(kind=EventKind.DENIED, actor=user.actor)).seq
        query = marked("QUERIED", seq, note="Why?")
        form = {"query": query.seq, "answer": "A test.", "back": back}
        location = olga.post("/audit/queries/", form)["Location"]
        (event,) = log_of("QUERY_ANSWERED")
        assert location == f"/audit/queries/?answered={event.seq}"

    @pytest.mark.parametrize(
        ("text", "reason"), [("", "Write an answer"), ("x" * 1001, "longer than 1000")]
    )
    def test_an_answer_must_have_some_words_and_not_too_many(self, text: str, reason: str) -> None:
        query = marked("QUERIED", request_factories.denied(START).seq, note="Why?")
        with pytest.raises(ReviewRefused, match=reason):
            answered(query.seq, text)

    def test_an_answer_that_could_not_be_recorded_is_kept_in_its_form(self, olga: Client) -> None:
        user = User.objects.get(username="olga")
        seq = request_factories.log_at(START, NewEvent(kind=EventKind.DENIED, actor=user.actor)).seq
        query = marked("QUERIED", seq, note="Why?")
        with nothing_can_be_written():
            answer = olga.post("/audit/queries/", {"query": query.seq, "answer": "kept"})
            text = html(answer)
        assert answer.status_code == 503
        assert ">kept</textarea>" in text
        assert "could not be written" in text

    def test_the_poller_tells_an_open_page(self, olga: Client) -> None:
        user = User.objects.get(username="olga")
        seq = request_factories.log_at(START, NewEvent(kind=EventKind.DENIED, actor=user.actor)).seq
        shown: dict[str, str | int] = {"show": "asked:0:0", "person": user.pk, "known": current()}
        with CaptureQueriesContext(connection) as queries:
            assert olga.get("/poll/", shown).status_code == 204
        assert not any("audit_review" in query["sql"] for query in queries)
        assert "Query from compliance" not in olga.get("/poll/", shown).content.decode()
        query = marked("QUERIED", seq, note="Why?")
        assert "Query from compliance" in olga.get("/poll/", shown).content.decode()
        shown["show"] = f"asked:1:{query.seq}"
        assert "Query from compliance" not in olga.get("/poll/", shown).content.decode()

    def test_a_page_costs_one_query_more_while_nothing_is_asked(
        self, olga: Client, django_assert_num_queries: object
    ) -> None:
        with django_assert_num_queries(1):  # type: ignore[operator]
            assert query_answers.unanswered("olga") == []


def asked_user() -> str:
    return User.objects.get(username="olga").full_text


def answered(query: int, text: str = "A test of mine.") -> AuditEvent:
    by = Actor(name=ADA.name, role=ADA.role)
    return query_answers.record_answer(query=query, text=text, by=by, username="ada", origin={})
