"""The page of the alarms: grouped by cancel, acknowledged many at once, and with a history."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.services import Acknowledgement, acknowledge_all, resolve
from killswitch.audit.actors import Actor
from killswitch.audit.models import EventKind
from killswitch.cancels.models import Batch, Origin
from killswitch.cancels.states import Status
from killswitch.console import alarm_list
from killswitch.console.alarm_list import OpenAlarms
from killswitch.runtime.revisions import current
from tests import factories
from tests.accounts.people import events
from tests.console.test_poll import poll
from tests.markup import html

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Raise = Callable[..., Alarm]


def page(client: Client, query: str = "") -> str:
    answer = client.get(f"/alarms/{query}")
    assert answer.status_code == 200
    return html(answer)


def failed_cancel(user: User, count: int = 20) -> Batch:
    """Cancel on so many exchanges, all of which fail."""
    batch = factories.press(user, *factories.exchanges(count))
    for request in batch.requests.all():
        factories.bring(request, Status.REJECTED)
    return batch


def group_button(text: str) -> str:
    found = re.search(r'name="group" value="([\d ]+)"', text)
    assert found
    return found[1]


def test_twenty_alarms_of_one_cancel_are_one_group_and_one_click(
    officer: Client, olga: User
) -> None:
    batch = failed_cancel(olga)
    shown = page(officer)
    assert "Cancel all on 20 exchanges" in shown
    assert f"/batches/{batch.uuid}/" in shown
    assert "Acknowledge all 20" in shown
    answer = officer.post(
        "/alarms/acknowledge/", {"group": group_button(shown), "note": "Desk called."}
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/alarms/")
    assert not Alarm.objects.unacknowledged().exists()
    recorded = events(EventKind.ALARM_ACKNOWLEDGED)
    assert [json.loads(event.data)["note"] for event in recorded] == ["Desk called."] * 20
    shown = page(officer)
    assert "20 alarms acknowledged." in shown
    assert "“Desk called.”" in shown


def test_an_alarm_raised_after_the_page_was_shown_is_not_acknowledged_by_it(
    officer: Client, olga: User, alarm: Raise
) -> None:
    batch = failed_cancel(olga, 2)
    shown = group_button(page(officer))
    (group,) = OpenAlarms.now().groups
    late = alarm("late", batch_id=str(batch.uuid), batch_size=2)
    assert [row.id for row in OpenAlarms.now().groups] == [group.id]
    officer.post("/alarms/acknowledge/", {"group": shown})
    assert list(Alarm.objects.unacknowledged()) == [late]


def test_a_selection_and_one_alone_are_acknowledged(officer: Client, alarm: Raise) -> None:
    first, second, third, fourth = (alarm(f"r-{number}") for number in range(4))
    officer.post("/alarms/acknowledge/", {"alarm": [first.pk, second.pk]})
    officer.post("/alarms/acknowledge/", {"alarm": [fourth.pk], "only": third.pk})
    assert list(Alarm.objects.unacknowledged()) == [fourth]


def test_what_another_officer_acknowledged_first_is_told(officer: Client, alarm: Raise) -> None:
    first, second = alarm("one"), alarm("two")
    acknowledge_all([first.pk], by=Acknowledgement(actor=Actor(name="Ivan Poe")))
    officer.post("/alarms/acknowledge/", {"alarm": [first.pk, second.pk]})
    assert "1 alarm acknowledged. 1 other had been acknowledged or resolved before." in page(
        officer
    )
    first.refresh_from_db()
    assert first.acknowledged_by == "Ivan Poe"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "Select at least one alarm."),
        ({"note": "A note that is kept"}, "Select at least one alarm."),
        ({"alarm": "1", "note": "x" * 501}, "The note is longer than 500 characters."),
    ],
)
def test_an_error_is_shown_in_the_page_and_nothing_is_lost(
    officer: Client, alarm: Raise, form: dict[str, str], error: str
) -> None:
    raised = alarm()
    if "alarm" in form:
        form |= {"alarm": str(raised.pk)}
    answer = officer.post("/alarms/acknowledge/", form)
    assert answer.status_code == 422
    shown = html(answer)
    assert error in shown
    assert form.get("note", "") in shown
    alarms = shown[shown.index('id="alarm-list"') :]
    assert ("checked" in alarms) == ("alarm" in form)
    assert Alarm.objects.unacknowledged().exists()


@pytest.mark.parametrize("values", [["0"], ["x"], ["99999999999999999999"], ["7"]])
def test_an_alarm_that_does_not_exist_is_not_found(
    officer: Client, alarm: Raise, values: list[str]
) -> None:
    raised = alarm()
    if values == [str(raised.pk)]:
        values = [str(raised.pk + 1)]
    answer = officer.post("/alarms/acknowledge/", {"alarm": [str(raised.pk), *values]})
    assert answer.status_code == 404
    assert Alarm.objects.unacknowledged().exists()


def test_the_note_is_one_line_without_control_characters(officer: Client, alarm: Raise) -> None:
    raised = alarm()
    officer.post("/alarms/acknowledge/", {"alarm": raised.pk, "note": " a\x1b\nb\0 "})
    raised.refresh_from_db()
    assert raised.note == "a b"


def test_an_alarm_about_the_person_stops_the_whole_selection(
    officer: Client, olga: User, alarm: Raise
) -> None:
    factories.person(Role.RISK_OFFICER, username="ivan")
    own, other = alarm(f"{olga.pk} 1", kind=AlarmKind.PEOPLE), alarm("r-1")
    answer = officer.post("/alarms/acknowledge/", {"alarm": [own.pk, other.pk]})
    assert answer.status_code == 409
    assert "No alarm was acknowledged. Another person must" in html(answer)
    assert Alarm.objects.unacknowledged().count() == 2
    assert f'name="alarm" value="{own.pk}"' not in page(officer)


def test_compliance_sees_the_alarms_and_cannot_acknowledge(
    compliance: Client, olga: User, alarm: Raise
) -> None:
    failed_cancel(olga, 2)
    shown = page(compliance)
    assert "Cancel all on 2 exchanges" in shown
    for button in ("Acknowledge all", 'name="alarm"', "Retry", "alarm-note-hint"):
        assert button not in shown
    assert compliance.post("/alarms/acknowledge/", {"alarm": "1"}).status_code == 403


def test_the_worst_cause_comes_first_and_one_exchange_stays_together(
    olga: User, alarm: Raise
) -> None:
    for exchange_id in ("BITMEX", "KRAKEN"):
        alarm(f"s {exchange_id}", kind=AlarmKind.STALLED, batch_id="", exchange_id=exchange_id)
    alarm("7 1", kind=AlarmKind.PEOPLE)
    batch = failed_cancel(olga, 2)
    request = batch.requests.order_by("id").first()
    assert request
    batch_fields = {"batch_id": str(batch.uuid), "batch_size": 2}
    fields = {"request_id": str(request.uuid), "exchange_id": request.exchange_id, **batch_fields}
    alarm("s-2", kind=AlarmKind.STALLED, **fields)
    alarm("e", kind=AlarmKind.EVIDENCE)
    alarm("h", kind=AlarmKind.HOLD_TRADING, exchange_id="LMAX")
    groups = OpenAlarms.now().groups
    assert [group.name for group in groups] == [
        "LMAX",
        "Cancel all on 2 exchanges",
        "KRAKEN",
        "BITMEX",
        "Audit log",
        "Accounts and configuration",
    ]
    names = [row.alarm.exchange_id for row in groups[1].alarms]
    assert names == ["VENUE01", "VENUE01", "VENUE02"]
    assert (groups[1].retry_count, groups[1].retry_url.count("exchange=")) == (2, 2)


def test_an_exchange_that_was_cancelled_again_is_not_offered_for_retry(
    officer: Client, olga: User
) -> None:
    batch = failed_cancel(olga, 3)
    again, *_ = batch.requests.order_by("id")
    assert "Retry 3 exchanges" in page(officer)
    known = current()
    retry = factories.press(olga, again.configured_exchange).requests.get()
    factories.bring(retry, Status.CONFIRMED)
    for shown in (page(officer), html(poll(officer, "alarms", known=known))):
        assert "Retry 2 exchanges" in shown
        assert f"exchange={again.configured_exchange_id}&" not in shown
        assert shown.count("another cancel was requested there since") == 1


def test_the_line_of_the_alarms_says_that_it_acknowledges_one_of_them(
    officer: Client, olga: User
) -> None:
    failed_cancel(olga, 3)
    line = page(officer).split('id="alarms"')[1].split("</section>")[0]
    assert line.count("Acknowledge this") == 1


def test_retry_leads_to_the_confirmation_and_names_the_cancel(olga: User, alarm: Raise) -> None:
    batch = failed_cancel(olga, 3)
    disabled = batch.requests.order_by("id").first()
    assert disabled
    factories.change(disabled.configured_exchange, enabled=False)
    alarm("e", kind=AlarmKind.EVIDENCE)
    group, evidence = OpenAlarms.now().groups
    address = urlsplit(group.retry_url)
    assert address.path == "/cancel-all/"
    enabled = [row.exchange_pk for row in group.alarms if row.exchange_pk]
    assert parse_qs(address.query) == {
        "exchange": [str(pk) for pk in enabled],
        "retry_of": [str(batch.uuid)],
    }
    assert len(enabled) == group.retry_count == 2
    assert [bool(row.retry_url) for row in group.alarms] == [False, True, True]
    assert evidence.retry_url == ""


def test_a_group_is_named_after_what_raised_it(olga: User, alarm: Raise) -> None:
    failed_cancel(olga, 1)
    (group,) = OpenAlarms.now().groups
    assert group.name == "Cancel all on VENUE01"
    Batch.objects.update(origin=Origin.HOLD)
    alarm("reminder", kind=AlarmKind.HOLD_REMINDER)
    hold, reminder = OpenAlarms.now().groups
    assert (hold.name, reminder.name) == ("Hold on VENUE01", "Holds")
    assert "exchange=" in hold.retry_url
    assert "retry_of" not in hold.retry_url, "a Hold is not what a user cancels again"


def test_of_very_many_the_worst_are_shown_and_the_rest_is_counted(
    officer: Client, alarm: Raise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_list, "MAX_OPEN", 3)
    alarm("r-0")
    for number in range(4):
        alarm(f"{number} 1", kind=AlarmKind.PEOPLE)
    shown = page(officer)
    assert "r-0 is not confirmed" in shown
    assert "2 more not shown" in shown


def test_the_list_takes_as_many_queries_for_twenty_as_for_two(olga: User) -> None:
    failed_cancel(olga)
    with CaptureQueriesContext(connection) as queries:
        OpenAlarms.now()
    assert len(queries) <= 4


class TestHistory:
    """Alarms that were acknowledged or have resolved themselves."""

    def test_it_says_who_when_and_why_it_ended(self, officer: Client, alarm: Raise) -> None:
        first = alarm("one", detail="HTTP 490")
        second = alarm("two", kind=AlarmKind.STALLED)
        alarm("still here")
        by = Acknowledgement(actor=Actor(name="Ivan Poe (ivan)"), note="Seen <b>")
        acknowledge_all([first.pk], by=by)
        resolve([second.pk], resolution="The request has ended: rejected.")
        history = page(officer).partition('id="history"')[2]
        assert "Acknowledged by Ivan Poe (ivan)," in history
        assert "“Seen &lt;b&gt;”" in history
        assert "Resolved itself," in history
        assert "The request has ended: rejected." in history
        assert "still here" not in history
        for text in ("ONE is", "http 490", "ivan poe", "seen"):
            history = page(officer, f"?text={text}").partition('id="history"')[2]
            assert re.findall(r"<strong>(\w+) is not", history) == ["one"], text
        history = page(officer, "?text=has ended").partition('id="history"')[2]
        assert re.findall(r"<strong>(\w+) is not", history) == ["two"]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("?kind=STALLED", {"stall"}),
            ("?exchange=krak", {"stall"}),
            ("?text=DESK", {"old"}),
            ("?until={yesterday}", {"old"}),
            ("?since={today}", {"stall"}),
            ("?since={yesterday}&until={today}", {"old", "stall"}),
            ("?since={today}&until={today}", {"stall"}),
            ("?text=nowhere", set()),
        ],
    )
    def test_it_is_filtered(
        self, officer: Client, alarm: Raise, query: str, expected: set[str]
    ) -> None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        old = alarm("old")
        acknowledge_all([old.pk], by=Acknowledgement(actor=Actor(name="x"), note="Desk called"))
        Alarm.objects.filter(pk=old.pk).update(raised_at=today - timedelta(microseconds=1))
        stall = alarm("stall", kind=AlarmKind.STALLED, exchange_id="KRAKEN/JOHN")
        resolve([stall.pk], resolution="Over.")
        Alarm.objects.filter(pk=stall.pk).update(raised_at=today)
        query = query.format(today=today.date(), yesterday=today.date() - timedelta(days=1))
        history = page(officer, query).partition('id="history"')[2]
        titles = set(re.findall(r"<strong>(\w+) is not confirmed", history))
        assert titles == expected
        assert ("No alarms match." in history) == (not expected)

    @pytest.mark.parametrize(
        "query",
        ["?kind=NONSENSE", "?since=yesterday", "?since=2026-02-02&until=2026-02-01", "?text=%00"],
    )
    def test_an_invalid_filter_is_refused_and_selects_nothing(
        self, officer: Client, alarm: Raise, query: str
    ) -> None:
        resolve([alarm("old").pk], resolution="Over.")
        history = page(officer, query).partition('id="history"')[2]
        assert "Check the filter." in history
        assert "old is not confirmed" not in history

    @pytest.mark.parametrize("query", ["?until=9999-12-31", "?since=0001-01-01", "?before=x"])
    def test_an_extreme_filter_is_a_filter(self, officer: Client, alarm: Raise, query: str) -> None:
        resolve([alarm("old").pk], resolution="Over.")
        assert "old is not confirmed" in page(officer, query)

    def test_it_is_paged_by_key_with_its_filter(
        self, officer: Client, alarm: Raise, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(alarm_list, "PAGE_SIZE", 2)
        resolve([alarm(f"r{number}").pk for number in range(6)], resolution="Over.")
        seen: list[str] = []
        query = "?kind=OUTCOME"
        while query:
            history = page(officer, query).partition('id="history"')[2]
            seen += re.findall(r"<strong>(\w+) is not confirmed", history)
            found = re.search(r'href="(\?[^"#]*)#history" rel="next"', history)
            query = found[1].replace("&amp;", "&") if found else ""
            assert ("kind=OUTCOME" in query) == (len(seen) < 6)
        assert seen == ["r5", "r4", "r3", "r2", "r1", "r0"]


def test_an_open_page_gets_new_alarms(officer: Client, alarm: Raise) -> None:
    known = re.search(r'data-revision="(\d+)"', page(officer))
    assert known
    assert officer.get(f"/poll/?known={known[1]}&show=alarms").status_code == 204
    alarm("new")
    answer: Any = officer.get(f"/poll/?known={known[1]}&show=alarms")
    assert 'id="alarm-list"' in html(answer)
    assert "new is not confirmed" in html(answer)
