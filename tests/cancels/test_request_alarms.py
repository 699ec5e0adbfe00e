"""The alarm of a request says what is known, in the EMS's words where it has given any."""

import json
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from killswitch.accounts.models import User
from killswitch.alarms import reconciliation
from killswitch.alarms.models import Alarm, AlarmKind, Delivery
from killswitch.audit.models import AuditEvent
from killswitch.audit.recorder import recording
from killswitch.audit.verification.findings import no_progress
from killswitch.cancels import watchdog
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.request_alarms import raise_outcome_alarm, raise_stalled_alarm
from killswitch.cancels.states import FINAL, IN_FLIGHT, LABELS, Status
from killswitch.cancels.watchdog import StallDetector
from killswitch.simulator.server import Simulator
from tests import factories
from tests.alarms.conftest import Sink, _plugins_are_loaded, sending, sink
from tests.cancels.conftest import Press
from tests.cancels.kills import carry_out, reject
from tests.conftest import wait_for

__all__ = ["_plugins_are_loaded", "sink"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

WORDS = {
    "type": "MESSAGE_REJECT",
    "reject_reason": "INVALID_TYPE",
    "message": "no such order type",
    "rejected_message": "cancel all",
}
NOT_CONFIRMED = sorted(FINAL - {Status.CONFIRMED})
HOSTILE = "\x1b[2J\u202eStatus: CONFIRMED\nStatus: CONFIRMED\r\n<script>alert(1)</script>\x00"


def brought(olga: User, status: Status, *exchange_ids: str, **fields: Any) -> CancelRequest:
    """Return the first request of a press, brought to this status."""
    exchanges = [factories.exchange(exchange_id) for exchange_id in exchange_ids or ("KRAKEN",)]
    request = factories.press(olga, *exchanges).requests.order_by("id")[0]
    return factories.bring(request, status, **fields)


def hear(request: CancelRequest, **words: str) -> CancelRequest:
    """Give a request and its attempts these words of the EMS."""
    CancelRequest.objects.filter(pk=request.pk).update(**words)
    request.refresh_from_db()
    return request


@pytest.mark.parametrize("status", NOT_CONFIRMED)
def test_the_alarm_of_every_outcome_carries_status_reason_and_words(
    olga: User, status: Status
) -> None:
    request = brought(olga, status)
    Alarm.objects.all().delete()
    words = {name: text for name, text in WORDS.items() if name != "type"}
    with recording():
        raise_outcome_alarm(hear(request, **words))
    alarm = Alarm.objects.get()
    assert alarm.kind == AlarmKind.OUTCOME
    lines = alarm.detail.splitlines()
    assert lines[0] == request.conclusion
    assert lines[1] == f"Status: {status} ({LABELS[status].lower()})"
    assert lines[2:5] == [
        "Reject reason: INVALID_TYPE",
        "EMS message: “no such order type”",
        "Rejected message: “cancel all”",
    ]
    assert lines[5].startswith("Attempts: 2; the last one: ")
    at = f"{request.batch.asked_at:%Y-%m-%d %H:%M:%S} UTC"
    assert lines[6:] == [f"Requested by Olga Ray (olga) at {at}"]


@pytest.mark.parametrize("status", sorted(IN_FLIGHT))
def test_the_alarm_of_a_request_that_is_stuck_carries_them_too(olga: User, status: Status) -> None:
    brought(olga, status, rejection=WORDS)
    watchdog.check_once(StallDetector(stalled_after_s=0))
    alarm = Alarm.objects.get(kind=AlarmKind.STALLED)
    assert alarm.title == f"KRAKEN: stuck for 0 s {watchdog.ACTIVITIES[status]}."
    assert f"Status at that time: {status} ({LABELS[status].lower()})" in alarm.detail
    assert "Requested by Olga Ray (olga) at 20" in alarm.detail
    assert ("Reject reason: INVALID_TYPE" in alarm.detail) == (status is Status.SENDING)
    assert ("Attempts: 0\n" in alarm.detail) == (status is Status.REQUESTED)


@pytest.mark.parametrize(
    ("status", "fields", "title", "last"),
    [
        ("REJECTED", {"rejection": WORDS}, "rejected, INVALID_TYPE", "HTTP 490"),
        (
            "REJECTED",
            {"rejection": {"type": "MESSAGE_REJECT", "message": "no such exchange"}},
            "rejected, “no such exchange”",
            "HTTP 490",
        ),
        (
            "NOT_DELIVERED",
            {},
            "not delivered, Connection refused (error 111)",
            "Connection refused (error 111)",
        ),
        (
            "UNKNOWN",
            {},
            "outcome unknown, the call was not finished within 10.0 s",
            "the call was not finished within 10.0 s",
        ),
        ("UNVERIFIED", {}, "accepted, not verified", "HTTP 200"),
        ("RESIDUAL", {}, "3 orders are still open", "HTTP 200"),
        ("RESIDUAL", {"orders": 1}, "1 order is still open", "HTTP 200"),
    ],
)
def test_the_title_is_short_and_has_the_reason(
    olga: User, status: str, fields: dict[str, Any], title: str, last: str
) -> None:
    brought(olga, Status(status), **fields)
    alarm = Alarm.objects.get()
    assert alarm.title == f"KRAKEN: {title}."
    assert f"Attempts: 2; the last one: {last}\n" in alarm.detail


def test_the_title_names_a_process_that_did_not_finish_in_a_few_words(olga: User) -> None:
    request = brought(olga, Status.UNKNOWN)
    last = request.attempts.last()
    assert last
    last.by_dead_holder = True
    last.transport_error = "The process handling this request did not finish it. It is not known."
    last.save()
    Alarm.objects.all().delete()
    with recording():
        raise_outcome_alarm(request)
    title = Alarm.objects.get().title
    assert title == "KRAKEN: outcome unknown, the process handling it did not finish."


def test_the_last_attempt_is_named_when_an_earlier_one_was_rejected(olga: User) -> None:
    request = brought(olga, Status.SENDING, rejection=WORDS)
    factories.attempt(request, factories.answer(request, Status.NOT_DELIVERED))
    factories.bring(request, Status.REJECTED, attempts=0)
    alarm = Alarm.objects.get()
    assert alarm.title == "KRAKEN: rejected, INVALID_TYPE."
    assert "Attempts: 3; the last one: Connection refused (error 111)\n" in alarm.detail


def test_what_is_notified_is_what_the_log_keeps(olga: User) -> None:
    brought(olga, Status.REJECTED, "KRAKEN", "LMAX", rejection=WORDS | {"message": HOSTILE})
    alarm = Alarm.objects.get()
    event = AuditEvent.objects.get(kind="ALARM_RAISED")
    data = json.loads(event.data)
    assert (data["title"], data["detail"]) == (alarm.title, alarm.detail)
    assert not {"batch_id", "batch_size", "summary"} & data.keys()
    assert alarm.batch_id == str(CancelRequest.objects.all()[0].batch.uuid)
    assert (alarm.batch_size, alarm.summary) == (2, "rejected, INVALID_TYPE")
    Alarm.objects.update(detail="Confirmed.")
    (finding,) = reconciliation.discrepancies(None, no_progress)
    assert f"alarm {alarm.pk}: detail is 'Confirmed.'" in finding.reason


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    words=st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    repeat=st.sampled_from([1, 2000]),
)
def test_no_word_of_the_ems_looks_like_a_line_of_ours(olga: User, words: str, repeat: int) -> None:
    hostile = (HOSTILE.replace("\x00", "") + words) * repeat
    with transaction.atomic():
        request = brought(olga, Status.UNKNOWN, f"KRAKEN{CancelRequest.objects.count()}")
        Alarm.objects.all().delete()
        hear(request, reject_reason=hostile[:200], message=hostile, rejected_message=hostile)
        with recording():
            raise_outcome_alarm(request)
            raise_stalled_alarm(request, title="stuck", instruction="Open it.")
        for alarm in Alarm.objects.all():
            lines = alarm.detail.split("\n")
            assert len(lines) == 7
            assert all(line.isprintable() for line in [alarm.title, *lines])
            assert not any(line.startswith("Status: CONFIRMED") for line in lines)
            assert len(alarm.title) < 200
            assert len(alarm.detail) < 3000
        transaction.set_rollback(True)


@pytest.mark.usefixtures("executor", "timeouts_for_many")
def test_forty_exchanges_rejected_alike_are_at_most_two_messages(
    simulator: Simulator, press: Press, sink: Sink, settings: Any
) -> None:
    settings.ALERT_URLS = (sink.url("/a"), sink.url("/b"))
    names = [f"VENUE{number:02}" for number in range(40)]
    for name in names:
        simulator.script(name, cancel=reject("INVALID_TYPE"), orders=1)
    with sending():
        carry_out(press(*names))
        wait_for(lambda: not Delivery.objects.filter(delivered_at=None).exists(), seconds=30)
    for path in ("/a", "/b"):
        assert len(sink.titles(path)) <= 2
        assert all("rejected, INVALID_TYPE" in title for title in sink.titles(path))
        bodies = " ".join(body["message"] for sent_path, body in sink.received if sent_path == path)
        assert all(name in bodies for name in names)
    assert Delivery.objects.exclude(delivered_at=None).count() == 80
    assert AuditEvent.objects.filter(kind="ALARM_TOLD").count() == 80
    assert list(reconciliation.discrepancies(None, no_progress)) == []
