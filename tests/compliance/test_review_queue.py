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
from killswitch.audit.actors import Actor
from killswitch.audit.chain import NewEvent
from killswitch.audit.models import AuditEvent, EventKind, Review
from killswitch.audit.reconciliation import reviews
from killswitch.audit.review import ReviewConflict, ReviewRefused
from killswitch.audit.sign_off_period import Period
from killswitch.audit.verification.findings import Finding, no_progress
from killswitch.cancels import reconciliation
from killswitch.compliance.open_queries import OpenQuestions
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


class TestOneQuestion:
    """A query on a cancel is an event for each request; people see, answer and close it once."""

    QUESTION = "Why did you cancel <everything>?"

    def raised(self, reader: Client) -> list[int]:
        """Raise a query on a cancel with one box, and return its events."""
        event_factories.live_for(User.objects.get(username="olga"))
        (box,) = boxes(html(reader.get("/audit/review/")))
        reader.post("/audit/review/", {"event": box, "mark": "QUERIED", "note": self.QUESTION})
        assert len(log_of("QUERIED")) == 4
        return [*map(int, box.split())]

    def test_compliance_closes_all_of_it_with_one_form(self, olga: Client, reader: Client) -> None:
        seqs = self.raised(reader)
        text = html(reader.get("/audit/review/"))
        assert text.count("Why did you cancel &lt;everything&gt;?") == 1
        assert "Cancel on 4 exchanges" in text
        assert f"Not answered yet by {asked_user()}." in text
        (value,) = open_query_forms(text)
        assert [*map(int, value.split())] == seqs
        form = {"event": value, "mark": "CLOSED", "back": "/audit/review/"}
        refused = html(reader.post("/audit/review/", {**form, "note": ""}))
        assert refused.count("The review was not recorded.") == 1
        assert refused.index("Open queries") < refused.index("The review was not recorded.")
        assert reader.post("/audit/review/", {**form, "note": "Clear."}).status_code == 303
        assert "No open queries" in html(reader.get("/audit/review/"))
        assert {*Review.objects.values_list("state", flat=True)} == {"CLOSED"}
        assert "Query from compliance" not in html(olga.get("/"))
        assert found() == []

    @pytest.mark.usefixtures("olga")
    def test_a_note_of_a_refused_closure_stays_in_its_own_form(self, reader: Client) -> None:
        seqs = self.raised(reader)
        marked("QUERIED", request_factories.denied(START).seq, note="Another one")
        form = {"event": " ".join(map(str, seqs)), "mark": "CLOSED", "note": "x" * 1001}
        text = html(reader.post("/audit/review/", form))
        assert text.count("x" * 1001) == 1
        marked("CLOSED", seqs[0], note="Just now, by another reviewer.")
        text = html(reader.post("/audit/review/", {**form, "note": "Mine"}))
        assert f"Event {seqs[0]} is already query closed" in text
        assert text.count(">Mine</textarea>") == 1
        assert [*map(int, open_query_forms(text)[-1].split())] == seqs[1:]

    def test_the_officer_sees_and_answers_it_once(self, olga: Client, reader: Client) -> None:
        seqs = self.raised(reader)
        asked = [event.seq for event in log_of("QUERIED")]
        text = html(olga.get("/audit/queries/"))
        assert text.count("Compliance asks") == 1
        assert "cancel on 4 exchanges" in text
        assert "Query from compliance </a>" in html(olga.get("/"))
        assert f'name="query" value="{" ".join(map(str, asked))}"' in text
        for request_id in {event.request_id for event in log_of("QUERIED")}:
            assert html(olga.get(f"/requests/{request_id}/")).count("Compliance asks") == 1
        olga.post("/audit/queries/", {"query": " ".join(map(str, asked)), "answer": "A drill."})
        answers = log_of("QUERY_ANSWERED")
        assert [json.loads(event.data)["before"] for event in answers] == [[seq] for seq in asked]
        named = [seq for event in answers for seq in json.loads(event.data)["events"]]
        assert sorted(named) == seqs
        assert "No queries to answer." in html(olga.get("/audit/queries/"))
        text = html(reader.get("/audit/review/"))
        assert text.count("Answer: “A drill.”") == 1
        assert "Query answered" in text
        assert "Not answered yet" not in text
        (value,) = open_query_forms(text)
        assert [*map(int, value.split())] == seqs
        assert found() == []

    def test_what_was_closed_meanwhile_is_not_answered(self, olga: Client, reader: Client) -> None:
        seqs = self.raised(reader)
        asked = log_of("QUERIED")
        closed = json.loads(asked[1].data)["events"]
        marked("CLOSED", *closed, note="Clear.")
        answer = {"query": " ".join(str(event.seq) for event in asked), "answer": "A drill."}
        assert olga.post("/audit/queries/", answer).status_code == 303
        assert Review.objects.filter(state="QUERY_ANSWERED").count() == len(seqs) - len(closed)
        assert {*Review.objects.filter(state="CLOSED").values_list("event_seq", flat=True)} == {
            *closed
        }
        refused = olga.post("/audit/queries/", answer)
        assert refused.status_code == 409
        assert "Your answer was: “A drill.”" in html(refused)
        assert found() == []

    def test_a_lost_answer_is_shown_even_if_another_query_is_open(self, olga: Client) -> None:
        user = User.objects.get(username="olga")
        denied = NewEvent(kind=EventKind.DENIED, actor=user.actor)
        first, second = (request_factories.log_at(START, denied).seq for _ in range(2))
        query = marked("QUERIED", first, note="One?")
        marked("QUERIED", second, note="Two?")
        marked("CLOSED", first, note="Clear.")
        refused = olga.post("/audit/queries/", {"query": query.seq, "answer": "Kept <b>"})
        assert "Your answer was: “Kept &lt;b&gt;”" in html(refused)

    def test_other_words_another_person_and_another_time_are_other_questions(self) -> None:
        first, second = (self.question(seq, text="Why?") for seq in (1, 2))
        later = self.question(3, text="Why?", seconds=3)
        same_cancel = self.question(4, text="Why?", seconds=60, batch="A")
        much_later = self.question(5, text="Why?", seconds=600, batch="A")
        other_words = self.question(6, text="How?", seconds=600, batch="A")
        other_person = self.question(7, text="Why?", seconds=600, batch="A", by="ray")
        other_cancel = self.question(8, text="Why?", seconds=700, batch="B")
        everything = [
            *(other_person, later, first, other_words, second),
            *(other_cancel, same_cancel, much_later),
        ]
        assert query_answers.group_questions(everything) == [
            [first, second],
            [later],
            [same_cancel, much_later],
            [other_words],
            [other_person],
            [other_cancel],
        ]

    def question(
        self, seq: int, *, text: str, seconds: int = 0, batch: str = "", by: str = "carl"
    ) -> query_answers.Question:
        at = START + timedelta(seconds=seconds)
        return query_answers.Question(seq=seq, by=by, text=text, at=at, batch=batch)

    @pytest.mark.parametrize("is_answered", [False, True])
    def test_the_number_of_queries_does_not_grow(
        self, olga: Client, reader: Client, *, is_answered: bool
    ) -> None:
        counts = []
        for number in range(2):
            seqs = [request_factories.denied(START).seq for _ in range(1 + 42 * number)]
            query = marked("QUERIED", *seqs, note=f"Why {number}?")
            if is_answered:
                numbers = [event.seq for event in log_of("QUERIED") if event.seq <= query.seq]
                by = Actor(name=ADA.name, role=ADA.role)
                query_answers.record_answer(
                    queries=numbers, text="A test.", by=by, username="ada", origin={}
                )
            with CaptureQueriesContext(connection) as queries:
                page = OpenQuestions.now()
                mine = query_answers.unanswered("ada")
            counts.append(len(queries))
            assert [len(item.events) for item in page.shown] == [43, 1][1 - number :]
            assert len(mine) == (0 if is_answered else number + 1)
        assert counts[0] == counts[1]

    def test_a_page_has_no_more_rows_than_its_limit_and_says_so(
        self, reader: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("killswitch.compliance.open_queries.MAX_READ", 3)
        marked("QUERIED", *(request_factories.denied(START).seq for _ in range(5)), note="Why?")
        page = OpenQuestions.now()
        assert [len(item.events) for item in page.shown] == [3]
        assert "2 events with older queries" in html(reader.get("/audit/review/"))

    @pytest.mark.parametrize("kind", ["disabled", "unknown"])
    def test_a_person_who_has_left_is_named_as_unable_to_answer(
        self, olga: Client, reader: Client, *, kind: str
    ) -> None:
        user = User.objects.get(username="olga")
        actor = user.actor if kind == "disabled" else Actor(name="os:root", role="")
        seq = request_factories.log_at(START, NewEvent(kind=EventKind.DENIED, actor=actor)).seq
        marked("QUERIED", seq, note="Why?")
        assert ("cannot answer" in html(reader.get("/audit/review/"))) == (kind == "unknown")
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert "cannot answer: there is no active account" in html(reader.get("/audit/review/"))


def open_query_forms(text: str) -> list[str]:
    """Return the events of each form that closes a query."""
    return re.findall(r'<form class="close-query".*?name="event" value="([\d ]+)"', text)


def asked_user() -> str:
    return User.objects.get(username="olga").full_text


def answered(query: int, text: str = "A test of mine.") -> AuditEvent:
    by = Actor(name=ADA.name, role=ADA.role)
    return query_answers.record_answer(queries=[query], text=text, by=by, username="ada", origin={})
