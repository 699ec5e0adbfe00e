"""The evidence pack: everything that was recorded of one cancel, for both roles that read it."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role, User
from killswitch.alarms import services as alarms
from killswitch.alarms.models import Alarm
from killswitch.audit import chain
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.audit.recorder import recording
from killswitch.audit.verification.verify import verify
from killswitch.cancels import services as cancels
from killswitch.cancels.models import Batch, CancelRequest
from killswitch.cancels.states import Status
from killswitch.compliance.evidence import Evidence
from tests import factories
from tests.console.conftest import _readiness_without_a_database, compliance, officer, olga
from tests.markup import html

__all__ = ["_readiness_without_a_database", "compliance", "officer", "olga"]
pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


def failed(olga: User, *, size: int = 2, **context: Any) -> Batch:
    context = {"reason": "Limit breach: gross notional", "user_agent": "Browser/1.0"} | context
    batch = factories.press(olga, *factories.exchanges(size), **context)
    for request in batch.requests.order_by("id"):
        factories.bring(request, Status.RESIDUAL, orders=3)
    return batch


def pack(client: Client, batch: Batch) -> str:
    answer = client.get(f"/batches/{batch.uuid}/evidence/")
    assert answer.status_code == 200
    return html(answer)


def test_both_roles_read_who_why_what_and_what_was_left_open(
    officer: Client, compliance: Client, olga: User
) -> None:
    batch = failed(olga)
    cancels.complete_reason(batch=batch, user=olga, reason="strategy 7")
    alarm = Alarm.objects.earliest("id")
    alarms.acknowledge(alarm_id=alarm.pk, actor=olga.actor, user_pk=olga.pk)
    batch.refresh_from_db()
    for client in (officer, compliance):
        page = pack(client, batch)
        for text in (
            "Olga Ray (olga), Risk officer",
            f"{batch.asked_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            "Limit breach: gross notional",
            "strategy 7",
            "Browser, 127.0.0.1 · confirmed in the dialog",
            "Browser/1.0",
            "2 with orders still open",
            "Attempts 1 to 2",
            "2 attempts, all accepted by the EMS",
            "3 orders left open",
            "6ab36bc1-344d-432e-ac6d-0bf44ee60002",
            alarm.title,
            "by Olga Ray (olga)",
            "not acknowledged",
            "Not verified yet",
            "manage.py verify_audit",
            str(batch.uuid),
        ):
            assert text in page, text


def test_it_says_whether_the_last_verification_covers_all_its_events(
    officer: Client, olga: User
) -> None:
    batch = failed(olga, size=1)
    verify(with_tables=False).store(whole=True)
    page = pack(officer, batch)
    assert f"up to event {chain.head().seq}" in page
    assert "does not cover all events below" not in page
    cancels.complete_reason(batch=batch, user=olga, reason="strategy 7")
    assert "does not cover all events below" in pack(officer, batch)


def test_orders_that_were_only_counted_and_a_failed_queue_are_in_it(
    officer: Client, olga: User
) -> None:
    batch = failed(olga)
    first, second = batch.requests.order_by("id")
    CancelRequest.objects.filter(pk=first.pk).update(open_after=5)
    requests = [str(first.uuid), str(second.uuid)]
    with recording() as record:
        record.event(EventKind.PUBLISH_FAILED, data={"requests": requests, "why": "TimeoutError"})
    page = pack(officer, batch)
    assert page.count("counted but not listed") == 1
    assert "2 orders counted but not listed." in page
    event = AuditEvent.objects.get(kind=EventKind.PUBLISH_FAILED)
    assert event.hash in page
    assert event.hash not in pack(officer, failed_elsewhere(olga))


def test_every_event_of_the_cancel_is_listed_with_its_hash(officer: Client, olga: User) -> None:
    batch = failed(olga, hold=True)
    holds = list(AuditEvent.objects.filter(kind=EventKind.HOLD_STARTED))
    failed_elsewhere(olga, hold=True)
    uuids = [str(uuid) for uuid in batch.requests.values_list("uuid", flat=True)]
    with recording() as record:  # it only mentions them
        record.event(EventKind.REQUESTS_EXPORTED, data={"q": [str(batch.uuid), *uuids]})
    page = pack(officer, batch)
    events = AuditEvent.objects.filter(request_id__in=uuids)
    assert events.count() > 6
    assert len(holds) == 2
    for event in [*events, *holds]:
        assert f"<code>{event.hash}</code>" in page
        assert f"{event.at:%Y-%m-%d %H:%M:%S.%f}" in page
    for event in AuditEvent.objects.exclude(pk__in=[row.pk for row in [*events, *holds]]):
        assert event.hash not in page
    assert {alarm.request_id for alarm in Evidence.of(batch).alarms} == set(uuids)
    assert "Holds started" in page


def failed_elsewhere(olga: User, **context: Any) -> Batch:
    batch = factories.press(olga, factories.exchange("ELSEWHERE", orders=1), **context)
    factories.bring(batch.requests.get(), Status.REJECTED)
    return batch


def test_retries_and_what_was_not_included_are_as_recorded(officer: Client, olga: User) -> None:
    first = failed(olga, size=1)
    Batch.objects.filter(pk=first.pk).update(not_included=None)  # of the version before
    assert "not recorded with this cancel" in pack(officer, first)
    first.refresh_from_db()
    retry = failed_elsewhere(olga)
    retry.retry_of = first
    retry.not_included = [
        {"exchange_id": "OKEX/ONE", "open_orders": 6, "why": "not_enabled"},
        {"exchange_id": "OLD", "open_orders": None, "why": "disabled"},
    ]
    retry.save()
    page = pack(officer, retry)
    assert "OKEX/ONE (6 open orders, not enabled here);" in page
    assert "OLD (disabled here)" in page
    assert "Retry of" in page
    assert f"/batches/{first.uuid}/evidence/" in page
    assert f"/batches/{retry.uuid}/evidence/" in pack(officer, first)
    Batch.objects.filter(pk=retry.pk).update(not_included=[])
    assert "no exchanges were left out" in pack(officer, retry)


def test_a_cancel_that_still_runs_is_no_final_evidence(officer: Client, olga: User) -> None:
    batch = factories.press(olga, *factories.exchanges(2))
    for request in batch.requests.all():
        assert "This cancel is still running" in pack(officer, batch)
        factories.bring(request, Status.CONFIRMED)
    assert "This cancel is still running" not in pack(officer, batch)


def test_the_number_of_queries_does_not_grow_with_the_exchanges(
    officer: Client, olga: User
) -> None:
    counts = []
    for size in (6, 9):  # with so many alarms the header counts them
        exchanges = [factories.exchange(f"X{size}-{n}", orders=3) for n in range(size)]
        batch = factories.press(olga, *exchanges)
        for request in batch.requests.all():
            factories.bring(request, Status.RESIDUAL)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            pack(officer, batch)
        counts.append(len(queries))
    assert counts[1] <= counts[0]


def test_reading_it_records_nothing(officer: Client, olga: User) -> None:
    batch = failed(olga)
    before = AuditEvent.objects.count()
    pack(officer, batch)
    assert AuditEvent.objects.count() == before


def test_pages_of_the_cancel_lead_to_it(officer: Client, olga: User) -> None:
    batch = failed(olga, size=1)
    for path in (f"/batches/{batch.uuid}/", f"/requests/{batch.requests.get().uuid}/"):
        assert f'href="/batches/{batch.uuid}/evidence/"' in html(officer.get(path))


def test_nobody_else_reads_it(olga: User) -> None:
    batch = failed(olga, size=1)
    path = f"/batches/{batch.uuid}/evidence/"
    assert Client().get(path).status_code == 302
    administrator = Client()
    administrator.force_login(factories.person(Role.ADMINISTRATOR))
    assert administrator.get(path).status_code == 403


def test_an_unknown_cancel_is_not_found(officer: Client) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    assert officer.get(f"/batches/{unknown}/evidence/").status_code == 404
