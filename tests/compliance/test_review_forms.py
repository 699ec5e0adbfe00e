"""Reviews in the browser: where they lead, what a refusal keeps, and who may review."""

import json
import re
from typing import Any

import pytest
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.audit.models import Review
from tests import factories
from tests.audit import request_factories
from tests.audit.export.export_helpers import nothing_can_be_written
from tests.audit.request_factories import START
from tests.audit.review_helpers import log_of
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def post(reader: Client, *seqs: object, **fields: str) -> Any:
    form = {"mark": "REVIEWED", "note": "", "back": "/audit/?kind=DENIED"} | fields
    return reader.post("/audit/review/", {"event": list(seqs), **form})


class TestTheForm:
    """The form of a review."""

    def test_a_review_leads_back_to_the_page_which_shows_what_was_recorded(
        self, reader: Client
    ) -> None:
        request_factories.denied(START)
        request_factories.denied(START)
        answer = post(reader, 1, 2, note="Seen.")
        assert answer.status_code == 303
        assert answer["Location"] == "/audit/?kind=DENIED&marked=4"
        text = html(reader.get(answer["Location"]))
        assert 'Recorded as <a href="/audit/events/4/">event 4</a>: Reviewed.' in text
        assert text.count("Reviewed <span") == 2
        event = log_of("REVIEWED")[0]
        assert event.actor == "Carl Ito (carl)"
        assert json.loads(event.data)["user_agent"] == "Firefox"
        assert "marked=4" not in text.split("Recorded as")[1]

    @pytest.mark.parametrize(
        "back",
        [
            "https://evil.example/audit/",
            "//evil.example/audit/",
            "/audit/\\evil",
            "/accounts/logout/",
            "javascript:alert(1)",
            "/audit/@evil.example\r\nX-Header: 1",
            "",
        ],
    )
    def test_it_leads_back_to_pages_of_ours_only(self, reader: Client, back: str) -> None:
        request_factories.denied(START)
        assert post(reader, 1, back=back)["Location"] == "/audit/review/?marked=2"

    @pytest.mark.parametrize(
        ("seqs", "fields", "status", "reason"),
        [
            ([], {"note": "Kept too."}, 400, "Nothing is selected. Select at least one event"),
            (["x", "-1", "9" * 40], {}, 400, "Select at least one event"),
            ([1], {"mark": ""}, 400, "Choose Mark as reviewed, Raise query or Close query."),
            ([1], {"mark": "QUERIED"}, 400, "A note is required"),
            ([1], {"mark": "CLOSED", "note": "Kept <b>"}, 409, "no open query"),
            ([1], {"note": "long " * 300}, 400, "longer than 1000"),
        ],
    )
    def test_a_refusal_tells_the_reason_and_keeps_the_note(
        self, reader: Client, seqs: list[object], fields: dict[str, str], status: int, reason: str
    ) -> None:
        request_factories.denied(START)
        answer = post(reader, *seqs, **fields)
        text = html(answer)
        assert answer.status_code == status
        assert "The review was not recorded" in text
        assert reason in text
        if note := fields.get("note"):
            assert note.replace("<b>", "&lt;b&gt;").strip() in text
        if seqs == [1]:
            assert re.search(r'value="1" aria-label="Select event 1" checked', text)
        assert "<h1>Audit log</h1>" in text, "the page of the form, with its filter"
        assert re.search(r'<option value="DENIED" selected>', text)
        assert not Review.objects.exists()

    def test_it_is_refused_when_the_event_cannot_be_written(self, reader: Client) -> None:
        request_factories.denied(START)
        with nothing_can_be_written():
            answer = post(reader, 1, note="kept")
            text = html(answer)
        assert answer.status_code == 503
        assert "The review was not recorded" in text
        assert ">kept</textarea>" in text

    def test_control_characters_in_a_note_are_harmless(self, reader: Client) -> None:
        request_factories.denied(START)
        assert post(reader, 1, note="a\x00b\u202ec\nd").status_code == 303
        assert json.loads(log_of("REVIEWED")[0].data)["note"] == "ab\u202ec d"
        assert "ab\\u202ec d" in html(reader.get("/audit/events/1/"))

    def test_a_note_keeps_the_characters_that_join_letters_and_emoji(self, reader: Client) -> None:
        request_factories.denied(START)
        note = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f692"
        assert post(reader, 1, note=note).status_code == 303
        assert json.loads(log_of("REVIEWED")[0].data)["note"] == note

    @pytest.mark.parametrize("role", [Role.RISK_OFFICER, Role.ADMINISTRATOR])
    def test_other_roles_cannot_review_or_sign_off(self, role: Role) -> None:
        request_factories.denied(START)
        client = Client()
        client.force_login(factories.person(role))
        for path in ("/audit/review/", "/audit/sign-offs/"):
            for answer in (client.get(path), client.post(path, {"event": 1, "mark": "REVIEWED"})):
                assert answer.status_code == 403
        assert not Review.objects.exists()
        assert len(log_of("DENIED")) == 3  # the first one is the event to be reviewed
