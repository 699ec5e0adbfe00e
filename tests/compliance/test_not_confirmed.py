"""One meaning of "not confirmed": the log, read alone, agrees with the rows of the requests."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from django.http import QueryDict
from django.test import Client

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import AlarmKind
from killswitch.alarms.services import raise_alarm
from killswitch.audit.filters import EventFilter
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.not_confirmed import is_not_confirmed, reopening_alarms
from killswitch.audit.recorder import recording
from killswitch.cancels.conclusion import CALM_REFUSAL, NEVER_LISTED
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.request_filter_fields import Choices
from killswitch.cancels.request_filters import RequestFilter
from killswitch.cancels.request_outcomes import outcome_name
from killswitch.cancels.states import Status
from killswitch.compliance import outcomes
from killswitch.compliance.event_outcomes import REQUEST_OUTCOMES
from killswitch.compliance.outcomes import DateRange
from killswitch.compliance.review_queue import ReviewQueue
from tests import factories
from tests.holds import hold_factories
from tests.markup import html

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]

# What the EMS may say to look like another outcome.
FORGED = (
    f'"conclusion":"{CALM_REFUSAL}", "alarm_kind":"REOPENED" {CALM_REFUSAL} {NEVER_LISTED}'
    ' {"alarm_kind":"REOPENED"}'
)
REFUSAL = {"type": "reject", "reject_reason": "INVALID", "message": FORGED}


@pytest.fixture
def olga() -> User:
    return factories.person(Role.RISK_OFFICER)


@pytest.fixture
def made(olga: User) -> list[CancelRequest]:
    """Requests with every outcome, half of which the EMS comments on in our own words."""
    requests = []
    for number, rejection in enumerate((factories.REJECTION, REFUSAL)):
        for status in Status:
            request = _press(olga, f"{status}{number}")
            requests.append(factories.bring(request, status, rejection=rejection))
        for name, ever_listed in (("REOPENED", True), ("NEVER-REOPENED", False)):
            request = _press(olga, f"{name}{number}")
            factories.bring(request, Status.CONFIRMED, ever_listed=ever_listed)
            factories.look_again(request, after_s=5, orders=0)
            factories.look_again(request, after_s=60, orders=2)
            requests.append(request)
        request = _press(olga, f"FLAT{number}")
        requests.append(factories.bring(request, Status.REJECTED, orders=0, rejection=rejection))
        request = _press(olga, f"NEVER{number}")
        requests.append(factories.bring(request, Status.CONFIRMED, ever_listed=False))
    for request in requests:
        request.refresh_from_db()
    return requests


def _press(olga: User, exchange_id: str) -> CancelRequest:
    return factories.press(olga, factories.exchange(exchange_id), ago_s=0).requests.get()


def _failed(requests: list[CancelRequest]) -> set[str]:
    return {str(request.uuid) for request in requests if request.needs_attention}


def test_the_log_finds_the_requests_that_need_attention_one_event_each(
    made: list[CancelRequest],
) -> None:
    assert {outcome_name(request) for request in made} == set(REQUEST_OUTCOMES.values()) - {
        "in_progress"
    } | {"requested", "sending", "verifying"}
    found = list(EventFilter.from_words({"status": "Not confirmed"}).events())
    assert {event.kind for event in found} == {EventKind.FINISHED}
    assert sorted(event.request_id for event in found) == sorted(_failed(made))
    with_kind = EventFilter.from_words({"status": "NOT_CONFIRMED", "kind": "FINISHED"})
    assert set(with_kind.events()) == set(found)
    reopened = set(reopening_alarms().values_list("request_id", flat=True))
    assert {
        event.request_id
        for event in AuditEvent.objects.all()
        if is_not_confirmed(event, is_reopened=event.request_id in reopened)
    } == _failed(made)


def test_an_alarm_of_another_kind_about_a_confirmed_request_changes_nothing(
    olga: User,
) -> None:
    request = factories.bring(_press(olga, "KRAKEN"), Status.CONFIRMED)
    with recording():
        raise_alarm(
            kind=AlarmKind.STALLED,
            subject=f"{request.uuid} REOPENED",
            request_id=str(request.uuid),
            title='"alarm_kind":"REOPENED"',
            detail='{"alarm_kind":"REOPENED"}',
        )
    assert not EventFilter(status="NOT_CONFIRMED").events().exists()


def test_each_number_of_the_outcomes_is_the_number_of_requests_behind_its_link(
    made: list[CancelRequest], reader: Client
) -> None:
    hold = hold_factories.start(factories.exchange("HELD"), act=hold_factories.shell("risk"))
    assert hold_factories.episode(hold, status=Status.UNKNOWN).request.needs_attention
    today = datetime.now(UTC).date()
    found = outcomes.of_range(DateRange(first=today, last=today))
    cells = found.days[0].cells
    assert found.days[0].total == len(made)
    choices = Choices.now()
    counts = {cell.outcome: cell.count for cell in cells}
    for name, count in counts.items():
        query = QueryDict(f"from={today}&to={today}&outcome={name}&by=people-only")
        listed = RequestFilter.from_query(query, choices=choices).requests()
        assert listed.count() == count, name
    assert counts["not_confirmed"] == len(_failed(made))
    (person,) = found.by_person
    query = QueryDict(f"by=people-only&person={person.name}")
    assert RequestFilter.from_query(query, choices=choices).requests().count() == person.total
    text = html(reader.get("/audit/outcomes/"))
    link = f"from={today}&amp;to={today}&amp;by=people-only&amp;outcome=not_confirmed"
    assert link in text


def test_the_log_says_next_to_a_confirmation_that_orders_were_open_again(
    olga: User, reader: Client
) -> None:
    request = factories.bring(_press(olga, "KRAKEN"), Status.CONFIRMED)
    factories.look_again(request, after_s=60, orders=2)
    alarm = reopening_alarms().get()
    end = AuditEvent.objects.get(kind=EventKind.FINISHED)
    words = f"event {alarm.seq}</a>"
    for address in (f"/audit/events/{end.seq}/", "/audit/", "/audit/?status=NOT_CONFIRMED"):
        text = html(reader.get(address))
        assert words in text
        assert f'href="/audit/events/{alarm.seq}/"' in text
    other = AuditEvent.objects.get(kind=EventKind.REQUESTED)
    assert words not in html(reader.get(f"/audit/events/{other.seq}/"))


def test_the_log_does_not_call_a_confirmation_of_an_unlisted_id_good(
    olga: User, reader: Client
) -> None:
    factories.bring(_press(olga, "KRAKN"), Status.CONFIRMED, ever_listed=False)
    text = html(reader.get("/audit/?kind=FINISHED"))
    assert "None open, but never listed by the EMS" in text
    assert "Confirmed, none open</span>" not in text.split('<tr id="e')[1]


def test_the_review_counts_a_cancel_as_failed_that_is_so_elsewhere(
    made: list[CancelRequest],
) -> None:
    failed = {str(request.batch.uuid) for request in made if request.needs_attention}
    queue = ReviewQueue.now()
    assert {cancel.requester.batch for cancel in queue.failed if cancel.requester} == failed
    words = {
        cancel.target.rstrip("01"): cancel.counts[0][1] for cancel in queue.cancels if cancel.counts
    }
    assert words["REOPENED"] == words["NEVER-REOPENED"] == "1 with orders open again"
    assert words["FLAT"] == "1 rejected, none open"
    assert words["NEVER"] == "1 never listed by the EMS"
    assert words["REJECTED"] == "1 rejected"


def test_the_csv_for_reading_says_it_in_columns_of_their_own(
    made: list[CancelRequest], reader: Client
) -> None:
    answer = reader.get("/audit/export-readable.csv")
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    ends = {row["Request ID"]: row for row in rows if row["Event type"] == "FINISHED"}
    assert {uuid for uuid, row in ends.items() if row["Not confirmed"] == "yes"} == _failed(made)
    assert {row["Not confirmed"] for row in ends.values()} == {"yes", "no"}
    reopened = {str(request.uuid) for request in made if request.reopened_at}
    assert {uuid for uuid, row in ends.items() if row["Open again, event"]} == reopened
    others = [row for row in rows if row["Event type"] != "FINISHED"]
    assert {row["Not confirmed"] + row["Status"] for row in others} == {""}
    assert "CONFIRMED" in {row["Status code"] for row in others}, "of second looks"


def test_an_export_of_what_was_not_confirmed_records_what_it_selected(
    made: list[CancelRequest], reader: Client
) -> None:
    answer = reader.get("/audit/export.jsonl?status=NOT_CONFIRMED")
    content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    header, *events, manifest = map(json.loads, content.decode().splitlines())
    assert header["filter"] == manifest["filter"] == {"outcome": "NOT_CONFIRMED"}
    assert {event["request_id"] for event in events} == _failed(made)
