"""What a watchdog finds in the requests in flight, and what it does about it."""

import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm
from killswitch.alarms.services import acknowledge
from killswitch.audit.actors import Actor
from killswitch.audit.models import AuditEvent
from killswitch.cancels import execution, recording, watchdog
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.request_alarms import resolve_stalled_alarms
from killswitch.cancels.states import FINAL, LABELS, Status
from killswitch.cancels.watchdog import StallDetector
from killswitch.ems import answers
from killswitch.simulator.server import Simulator
from tests import factories
from tests.cancels.conftest import Press
from tests.cancels.kills import always
from tests.conftest import wait_for


def snapshot(
    status: Status = Status.SENDING,
    *,
    lease_token: str = "p:1",
    lease_beats: int = 1,
    finished_calls: int = 1,
    dead_holders: int = 0,
) -> RequestSnapshot:
    return RequestSnapshot(
        id=7,
        status=status,
        lease_token=lease_token,
        lease_beats=lease_beats,
        finished_calls=finished_calls,
        dead_holders=dead_holders,
    )


def test_a_new_request_is_left_to_the_workers_for_a_second() -> None:
    detector = StallDetector()
    new = snapshot(Status.REQUESTED, lease_token="")
    assert detector.inspect([new], now=100.0).unclaimed == []
    assert detector.inspect([new], now=100.9).unclaimed == []
    assert detector.inspect([new], now=101.0).unclaimed == [7]


def test_a_released_request_is_stale_at_once() -> None:
    released = snapshot(lease_token="")
    assert StallDetector().inspect([released], now=5.0).abandoned == [released]


def test_a_lease_that_is_renewed_is_never_stale() -> None:
    detector = StallDetector()
    for second in range(60):
        findings = detector.inspect([snapshot(lease_beats=second)], now=float(second))
        assert findings.abandoned == []


def test_a_lease_that_is_not_renewed_is_stale_after_three_seconds() -> None:
    detector = StallDetector()
    assert detector.inspect([snapshot()], now=10.0).abandoned == []
    assert detector.inspect([snapshot()], now=12.9).abandoned == []
    assert detector.inspect([snapshot()], now=13.0).abandoned == [snapshot()]


def test_time_in_which_no_lease_could_be_renewed_does_not_count() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    detector.restart()
    assert detector.inspect([snapshot()], now=100.0).abandoned == []
    detector.restart([8])
    assert detector.inspect([snapshot()], now=103.0).abandoned == [snapshot()]
    detector.restart([7])
    assert detector.inspect([snapshot()], now=104.0).abandoned == []


def test_a_new_holder_gets_three_seconds_of_its_own() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    taken_over = snapshot(lease_token="q:2")
    assert detector.inspect([taken_over], now=2.9).abandoned == []
    assert detector.inspect([taken_over], now=5.8).abandoned == []
    assert detector.inspect([taken_over], now=5.9).abandoned == [taken_over]


def test_an_attempt_that_was_recorded_shows_that_the_holder_is_alive() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    assert detector.inspect([snapshot(finished_calls=2)], now=3.0).abandoned == []


def test_five_seconds_without_progress_need_an_alarm_until_it_is_raised() -> None:
    detector = StallDetector()
    times = []
    for quarter in range(80):
        if detector.inspect([snapshot(lease_beats=quarter)], now=quarter / 4).stalled:
            times.append(quarter / 4)
            if len(times) == 2:  # the first try to raise the alarm failed
                detector.alarm_raised(7)
    assert times == [5.0, 5.25]


def test_a_takeover_is_not_progress() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    taken_over = snapshot(lease_token="q:2", finished_calls=2, dead_holders=1)
    assert detector.inspect([taken_over], now=3.0).stalled == []
    assert detector.inspect([taken_over], now=5.0).stalled == [7]


def test_progress_postpones_the_alarm() -> None:
    detector = StallDetector()
    for second in range(60):
        request = snapshot(lease_beats=second, finished_calls=second // 4)
        assert detector.inspect([request], now=float(second)).stalled == []


def test_a_request_that_never_ends_is_an_alarm_even_if_it_makes_progress() -> None:
    detector = StallDetector(max_in_flight_s=90)
    overtime = [
        second
        for second in range(100)
        if detector.inspect(
            [snapshot(lease_beats=second, finished_calls=second)], now=float(second)
        ).overtime
    ]
    assert overtime[0] == 90


def test_a_finished_request_is_forgotten() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    detector.inspect([], now=1.0)
    assert detector.inspect([snapshot()], now=9.0).abandoned == []


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("executor", "short_timeouts")
def test_a_request_without_progress_raises_one_alarm_with_one_event(
    simulator: Simulator, press: Press
) -> None:
    simulator.script("KRAKEN", cancel=always("silent"), orders=1)
    (request,) = press("KRAKEN")
    execution.run(ids=[request.pk])
    detector = StallDetector(stalled_after_s=0.2)

    def is_alarmed() -> bool:
        watchdog.check_once(detector)
        return Alarm.objects.filter(kind="STALLED").exists()

    wait_for(is_alarmed, seconds=5)
    assert is_alarmed()
    alarm = Alarm.objects.get(kind="STALLED")
    assert alarm.title == "KRAKEN: stuck for 0.2 s while sending the cancel."
    assert (alarm.request_id, alarm.exchange_id) == (str(request.uuid), "KRAKEN")
    assert AuditEvent.objects.filter(kind="ALARM_RAISED", request_id=alarm.request_id).count() == 1


def stall(request: CancelRequest) -> Alarm:
    """Let a watchdog that waits for nothing find a request without progress."""
    watchdog.check_once(StallDetector(stalled_after_s=0))
    return Alarm.objects.filter(request_id=str(request.uuid), kind="STALLED").latest("id")


@pytest.mark.both_databases
@pytest.mark.django_db(transaction=True)
class TestResolvingStalls:
    """`resolve_stalled_alarms`, on the next round of any watchdog."""

    def request(self, status: Status = Status.SENDING) -> CancelRequest:
        olga = factories.person(Role.RISK_OFFICER)
        request = factories.press(olga, factories.exchange("KRAKEN")).requests.get()
        factories.bring(request, status, attempts=0)
        CancelRequest.objects.update(lease_token="p:1")
        return request

    @pytest.mark.parametrize("status", sorted(FINAL))
    def test_the_end_of_a_request_resolves_its_alarm(self, status: Status) -> None:
        request = self.request()
        alarm = stall(request)
        CancelRequest.objects.update(lease_token=factories.LEASE_TOKEN)
        factories.bring(request, status)
        watchdog.check_once(StallDetector())
        alarm.refresh_from_db()
        assert alarm.resolution == f"The request has ended: {LABELS[status].lower()}."
        assert not Alarm.objects.unacknowledged().filter(kind="STALLED").exists()
        (event,) = AuditEvent.objects.filter(kind="ALARM_RESOLVED")
        assert event.request_id == str(request.uuid)

    def test_progress_resolves_it_and_a_later_stall_is_a_new_alarm(self) -> None:
        request = self.request()
        first = stall(request)
        assert stall(request) == first, "there is one alarm while nothing changes"
        factories.attempt(request, answers.not_delivered("refused"), lease_token="p:1")
        watchdog.check_once(StallDetector())
        first.refresh_from_db()
        assert first.resolution == "The request is making progress again: sending the cancel."
        second = stall(request)
        assert second != first
        assert list(Alarm.objects.unacknowledged()) == [second]

    def test_a_takeover_resolves_nothing(self) -> None:
        request = self.request()
        alarm = stall(request)
        recording.record_takeover(request.pk, dead_holder="p:1", lease_token="p:1")
        watchdog.check_once(StallDetector())
        alarm.refresh_from_db()
        assert alarm.resolved_at is None

    def test_progress_does_not_resolve_that_it_runs_past_its_deadline(self) -> None:
        request = self.request()
        watchdog.check_once(StallDetector(max_in_flight_s=0))
        alarm = Alarm.objects.get()
        assert "still running after its deadline" in alarm.title
        factories.attempt(request, answers.not_delivered("refused"), lease_token="p:1")
        watchdog.check_once(StallDetector())
        alarm.refresh_from_db()
        assert alarm.resolved_at is None

    def test_an_alarm_of_an_earlier_version_is_resolved_by_the_end_only(self) -> None:
        request = self.request()
        alarm = stall(request)
        Alarm.objects.update(subject=str(request.uuid))
        factories.attempt(request, answers.not_delivered("refused"), lease_token="p:1")
        watchdog.check_once(StallDetector())
        alarm.refresh_from_db()
        assert alarm.resolved_at is None

    def test_an_acknowledged_alarm_stays_acknowledged(self) -> None:
        request = self.request()
        alarm = stall(request)
        acknowledge(alarm_id=alarm.pk, actor=Actor(name="Olga"))
        CancelRequest.objects.update(lease_token=factories.LEASE_TOKEN)
        factories.bring(request, Status.REJECTED)
        watchdog.check_once(StallDetector())
        alarm.refresh_from_db()
        assert alarm.resolved_at is None

    def test_a_round_without_alarms_reads_one_row_set_and_writes_nothing(self) -> None:
        with CaptureQueriesContext(connection) as queries:
            resolve_stalled_alarms()
        assert len(queries) == 1


def test_a_request_that_moved_meanwhile_needs_a_new_alarm_only_when_it_stalls_again() -> None:
    detector = StallDetector()
    detector.inspect([snapshot()], now=0.0)
    assert detector.inspect([snapshot()], now=5.0).stalled == [7]
    detector.alarm_raised(7)
    assert detector.inspect([snapshot(finished_calls=2)], now=6.0).stalled == []
    assert detector.inspect([snapshot(finished_calls=2)], now=10.9).stalled == []
    assert detector.inspect([snapshot(finished_calls=2)], now=11.0).stalled == [7]


HANG = """
import time
import django
django.setup()
from killswitch.cancels.watchdog import HangGuard
HangGuard(max_check_s=0.1)
time.sleep(60)
"""


def test_a_process_whose_check_hangs_ends() -> None:
    process = subprocess.run(
        [sys.executable, "-c", HANG], cwd=settings.BASE_DIR, check=False, timeout=40
    )
    assert process.returncode == 1
