"""One event, the events of a request, and foreign text wherever it is shown."""

import pytest
from django.test import Client

from killswitch.audit.chain import NewEvent
from killswitch.audit.descriptions import MAX_CHARS
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.compliance import log_page
from tests.audit import request_factories
from tests.audit.log import record
from tests.audit.request_factories import START, request
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def page(reader: Client, query: str = "", *, status: int = 200) -> str:
    answer = reader.get(f"/audit/{query}")
    assert answer.status_code == status
    return html(answer)


def test_names_and_messages_of_any_script_show_as_text(reader: Client) -> None:
    request_factories.hostile()
    for path in ["/audit/", "/audit/?kind=ATTEMPT", "/audit/?text=script", "/audit/review/"]:
        _check_harmless(html(reader.get(path)))
    for event in AuditEvent.objects.filter(kind__in=[EventKind.REQUESTED, EventKind.QUERIED]):
        _check_harmless(page(reader, f"events/{event.seq}/"))
    _check_harmless(page(reader, "?exchange=%E2%80%AE&text=%E2%80%AE%1B"))
    _check_harmless(page(reader, "?from=%E2%80%AE%1B", status=400))
    marked_up = page(reader, "?kind=ALARM_RAISED")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in marked_up
    assert "\\u202egnp.exe" in marked_up
    assert "\\u0000\\u001b[31m" in marked_up  # in the data, as it is stored
    for script in request_factories.SCRIPTS:
        assert script in marked_up


def _check_harmless(text: str) -> None:
    assert "<script>alert" not in text
    for character in ("\x00", "\x1b", "\u202e"):
        assert character not in text


def test_data_that_is_long_is_cut_in_the_list_and_whole_on_its_own_page(reader: Client) -> None:
    record(NewEvent(kind=EventKind.ATTEMPT, data={"body": "x" * 9000 + "LAST-WORD"}))
    text = page(reader)
    assert "LAST-WORD" not in text
    assert "Show all data on the event&#x27;s page" in text.replace("'", "&#x27;")
    assert "LAST-WORD" in page(reader, "events/1/")


def test_an_event_of_an_unknown_kind_or_with_unknown_data_is_shown_as_it_is(
    db: None,
) -> None:
    event = request_factories.denied(START)
    for kind in (*EventKind, "OF_TOMORROW"):
        for data in ("[]", "17", '"text"', "{", "", '{"conclusion":["x"],"changes":[1]}'):
            event.kind, event.data = kind, data
            (entry,) = log_page.entries([event])
            assert "".join(entry.data.split()) == data
            assert len(entry.description) <= MAX_CHARS
            assert entry.description == "" or kind != "OF_TOMORROW"


class TestAnEvent:
    """The page of one event."""

    def test_it_shows_every_column_and_computes_the_hash_again(self, reader: Client) -> None:
        request(0, at=START)
        event = AuditEvent.objects.get(seq=2)
        text = page(reader, "events/2/")
        for words in (
            event.hash,
            event.previous,
            "0.1.0, format 1",
            "Integrity check passed: the hash of this event and its link to the previous event are"
            " correct.",
        ):
            assert words in text
        assert 'href="/audit/events/1/"' in text
        assert 'href="/audit/events/3/"' in text
        assert "&quot;number&quot;:1" in text  # the canonical text, exactly

    @pytest.mark.parametrize("seq", [4, 10**18, 10**30])
    def test_an_event_that_does_not_exist_is_not_found(self, reader: Client, seq: int) -> None:
        request(0, at=START)
        assert "There is no event with this number" in page(reader, f"events/{seq}/", status=404)

    def test_an_event_that_was_edited_fails_its_integrity_check(self, reader: Client) -> None:
        from tests.audit.forging import guards_off

        request(0, at=START)
        with guards_off() as cursor:
            cursor.execute("UPDATE audit_auditevent SET exchange_id = 'OTHER' WHERE seq = 2")
        assert "the recomputed hash is different" in page(reader, "events/2/")
        assert "Integrity check passed" in page(reader, "events/3/")
        with guards_off() as cursor:
            cursor.execute(
                "UPDATE audit_auditevent SET exchange_id = 'KRAKEN', hash = 'x' WHERE seq = 2"
            )
        assert "the previous event is missing or has another hash" in page(reader, "events/3/")


class TestOfARequest:
    """The part of the page of a request that only compliance sees."""

    def test_every_event_is_shown_with_its_hash(self, reader: Client) -> None:
        from tests.audit import event_factories

        residual = event_factories.live()["residual"]
        text = html(reader.get(f"/requests/{residual.uuid}/"))
        events = AuditEvent.objects.filter(request_id=str(residual.uuid))
        assert events.count() == 5
        for event in events:
            assert f'href="/audit/events/{event.seq}/"' in text
            assert event.hash in text
        assert "Review events" in text

    def test_an_officer_does_not_see_it(self, reader: Client) -> None:
        from killswitch.accounts.models import Role
        from tests import factories
        from tests.audit import event_factories

        residual = event_factories.live()["residual"]
        officer = Client()
        officer.force_login(factories.person(Role.RISK_OFFICER, username="nora"))
        text = html(officer.get(f"/requests/{residual.uuid}/?marked=1"))
        assert residual.conclusion in text
        for word in ("/audit/", "In the audit log", "Review events", "hash"):
            assert word not in text
