"""A cancel that nobody may want any more is not sent without asking."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models import F

from killswitch.alarms.models import Alarm
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.cancels import execution, leases
from killswitch.cancels.models import Batch, CancelRequest, Origin
from killswitch.cancels.recording import record_attempt, start_verifying
from killswitch.ems.client import get_client
from killswitch.simulator.server import Simulator
from tests.cancels.conftest import Press
from tests.cancels.kills import carry_out, snapshot
from tests.conftest import wait_for

pytestmark = [
    pytest.mark.both_databases,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("executor", "short_timeouts", "unpublished"),
]

DAYS_AGO = timedelta(days=3)


@pytest.fixture(autouse=True)
def _just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process under test has not noted which requests are from before its start."""
    monkeypatch.setattr(leases, "_newest_at_start", [])


def made_old(request: CancelRequest, by: timedelta = DAYS_AGO) -> CancelRequest:
    Batch.objects.update(asked_at=F("asked_at") - by)
    CancelRequest.objects.exclude(first_claimed_at=None).update(
        first_claimed_at=F("first_claimed_at") - by
    )
    return CancelRequest.objects.get(pk=request.pk)


def taken_over(request: CancelRequest) -> CancelRequest:
    execution.take_over_abandoned([snapshot(request)])
    rows = CancelRequest.objects.filter(pk=request.pk)
    wait_for(lambda: rows.get().is_final, seconds=10)
    return rows.get()


def test_one_that_was_never_sent_is_not_delivered(simulator: Simulator, press: Press) -> None:
    (request,) = press("KRAKEN")
    request = carry_out([made_old(request)])
    assert request.status == "NOT_DELIVERED"
    assert simulator.calls() == []
    day = f"{datetime.now(UTC) - DAYS_AGO:%Y-%m-%d}"
    assert request.conclusion.startswith(f"It was requested on {day} at ")
    assert request.conclusion.endswith(
        "so long ago that it may no longer be wanted. It never reached the EMS. Cancel again"
        " if it is needed."
    )
    assert Alarm.objects.get().kind == "OUTCOME"
    assert not request.attempts.exists()


@pytest.mark.parametrize(("seconds", "sent"), [(-60, True), (60, False)], ids=["before", "after"])
def test_the_limit_is_two_hours(
    simulator: Simulator, press: Press, settings: Any, *, seconds: int, sent: bool
) -> None:
    (request,) = press("KRAKEN")
    by = timedelta(seconds=settings.REQUEST_MAX_AGE + seconds)
    assert by == timedelta(hours=2, seconds=seconds)
    carry_out([made_old(request, by)])
    assert bool(simulator.calls()) is sent


def test_a_cancel_within_its_deadline_is_never_too_old(
    simulator: Simulator, press: Press, settings: Any
) -> None:
    settings.REQUEST_MAX_AGE, settings.CANCEL_DEADLINE = 1, 60
    (request,) = press("KRAKEN")
    assert carry_out([made_old(request, timedelta(seconds=30))]).status == "CONFIRMED"
    assert len(simulator.calls()) == 1


def test_one_that_a_dead_process_may_have_sent_stays_unknown(
    simulator: Simulator, press: Press
) -> None:
    (request,) = press("KRAKEN")
    (dead,) = leases.claim([request.pk])
    leases.stop_renewing(dead)
    request = taken_over(made_old(request))
    assert (request.status, simulator.calls()) == ("UNKNOWN", [])
    assert "Nothing more was sent." in request.conclusion
    assert "The open orders were not checked." in request.conclusion


@pytest.mark.parametrize("verifying", [False, True])
def test_one_that_was_accepted_stays_unverified(
    simulator: Simulator, press: Press, *, verifying: bool
) -> None:
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    record_attempt(
        lease.id, lease.token, answer=get_client().cancel_all("KRAKEN"), next_attempt_at=None
    )
    if verifying:
        start_verifying(lease.id, lease.token)
    leases.release(lease)
    request = taken_over(made_old(request))
    assert (request.status, len(simulator.calls())) == ("UNVERIFIED", 1)
    assert "The EMS accepted the cancel." in request.conclusion


def test_one_that_was_rejected_stays_rejected(simulator: Simulator, press: Press) -> None:
    simulator.script("KRAKEN", cancel=["not_found"], orders=5)
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    record_attempt(
        lease.id, lease.token, answer=get_client().cancel_all("KRAKEN"), next_attempt_at=None
    )
    leases.release(lease)
    request = taken_over(made_old(request))
    assert (request.status, len(simulator.calls())) == ("REJECTED", 1)


class TestWhateverTheClocksSay:
    """A cancel that was recorded while this process ran has just been pressed."""

    def test_one_that_came_after_the_start_is_sent(
        self, simulator: Simulator, press: Press
    ) -> None:
        leases.note_requests_at_start()
        (request,) = press("KRAKEN")
        assert carry_out([made_old(request)]).status == "CONFIRMED"
        assert len(simulator.calls()) == 1

    def test_one_that_came_after_a_start_without_the_database_is_sent(
        self, simulator: Simulator, press: Press
    ) -> None:
        def gone(*_: Any) -> None:
            raise OperationalError("connection refused")

        with connection.execute_wrapper(gone):
            leases.note_requests_at_start()
        wait_for(lambda: bool(leases._newest_at_start), seconds=10)
        (request,) = press("KRAKEN")
        assert carry_out([made_old(request)]).status == "CONFIRMED"
        assert len(simulator.calls()) == 1

    def test_one_that_was_there_at_the_start_is_not(
        self, simulator: Simulator, press: Press
    ) -> None:
        (request,) = press("KRAKEN")
        leases.note_requests_at_start()
        assert carry_out([made_old(request)]).status == "NOT_DELIVERED"


def test_the_request_of_a_hold_is_left_to_the_hold(simulator: Simulator, press: Press) -> None:
    (request,) = press("KRAKEN")
    Batch.objects.update(origin=Origin.HOLD)
    (lease,) = leases.claim([made_old(request).pk])
    leases.stop_renewing(lease)
    assert lease.too_old_since is None


def test_the_log_verifies_with_its_end(simulator: Simulator, press: Press) -> None:
    (request,) = press("KRAKEN")
    carry_out([made_old(request)])
    event = AuditEvent.objects.get(kind=EventKind.FINISHED)
    assert event.status == "NOT_DELIVERED"
    assert '"attempts":0' in event.data
