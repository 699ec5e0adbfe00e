"""Finds requests that no process carries out, and carries them out itself; needs no broker.

It judges by its own monotonic clock and by rows that do not change, never by comparing the clocks
of two hosts. Any number of watchdogs may run: claiming and taking over are compare-and-set.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import structlog
from django.conf import settings
from django.db import Error
from django.db.models import Count, F, Q

from killswitch.audit.recorder import recording
from killswitch.cancels import execution, leases
from killswitch.cancels.leases import RequestSnapshot
from killswitch.cancels.models import CancelRequest, Origin
from killswitch.cancels.request_alarms import (
    progress,
    raise_stalled_alarm,
    resolve_stalled_alarms,
)
from killswitch.cancels.states import Status
from killswitch.runtime import heartbeats
from killswitch.runtime.changes import ChangeGate
from killswitch.runtime.leases import StillnessTracker
from killswitch.runtime.periodic import PeriodicTask

CHECK_INTERVAL_S = 0.25
HANG_CHECK_INTERVAL_S = 1.0
UNCLAIMED_AFTER_S = 1.0  # until then a new request is left to the workers
ABANDONED_AFTER_S = 3.0  # a holder renews its lease once a second
STALLED_AFTER_S = 5.0
ALARM_OVERTIME_S = 10.0  # after which a request in flight is an alarm even if it makes progress
MAX_CHECK_S = 20.0
MAX_IDLE_S = 10.0  # should a request ever be written without a revision

# In the past tense, because an alarm stays on the screen after the request has finished.
ACTIVITIES = {
    Status.REQUESTED: "before it was picked up",
    Status.SENDING: "while sending the cancel",
    Status.VERIFYING: "while checking open orders",
}

Progress = tuple[Status, int]  # and how many attempts and reads have finished

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one check requires: requests to claim or to take over, and alarms to raise."""

    unclaimed: list[int] = field(default_factory=list)
    abandoned: list[RequestSnapshot] = field(default_factory=list)
    stalled: list[int] = field(default_factory=list)
    overtime: list[int] = field(default_factory=list)


class StallDetector:
    """Remembers how long requests have not changed. It reads neither the database nor a clock."""

    def __init__(
        self,
        *,
        stalled_after_s: float = STALLED_AFTER_S,
        max_in_flight_s: float = float("inf"),
    ) -> None:
        self.stalled_after_s = stalled_after_s
        self._max_in_flight_s = max_in_flight_s
        self._unchanged = StillnessTracker[int]()
        self._no_progress = StillnessTracker[int]()
        self._in_flight = StillnessTracker[int]()
        self._progress: dict[int, Progress] = {}
        # At which progress an alarm was raised, or that none is needed there.
        self._alarmed: dict[int, Progress] = {}
        self._overtime_alarmed: set[int] = set()

    def inspect(self, snapshots: Iterable[RequestSnapshot], *, now: float) -> Findings:
        """Compare the requests in flight with the last time; `now` is in monotonic seconds."""
        requests = {snapshot.id: snapshot for snapshot in snapshots}
        # A takeover is not progress: a request that kills every worker would never be an alarm.
        self._progress = {
            request.id: (request.status, request.finished_calls - request.dead_holders)
            for request in requests.values()
        }
        unchanged_s = self._unchanged.observe(requests, now=now)
        no_progress_s = self._no_progress.observe(self._progress, now=now)
        in_flight_s = self._in_flight.observe(dict.fromkeys(requests), now=now)
        self._alarmed = {pk: at for pk, at in self._alarmed.items() if pk in requests}
        self._overtime_alarmed &= requests.keys()
        findings = Findings()
        for pk, request in requests.items():
            if request.status is Status.REQUESTED:
                if unchanged_s[pk] >= UNCLAIMED_AFTER_S:
                    findings.unclaimed.append(pk)
            elif not request.lease_token or unchanged_s[pk] >= ABANDONED_AFTER_S:
                findings.abandoned.append(request)
            if no_progress_s[pk] >= self.stalled_after_s:
                if self._alarmed.get(pk) != self._progress[pk]:
                    findings.stalled.append(pk)
            elif in_flight_s[pk] >= self._max_in_flight_s and pk not in self._overtime_alarmed:
                findings.overtime.append(pk)
        return findings

    def restart(self, request_ids: Iterable[int] | None = None) -> None:
        """Measure again how long these requests, or all of them, have not changed.

        While a row cannot be written, no holder renews its lease, and what was done meanwhile is
        recorded as soon as it can be.
        """
        if request_ids is None:
            self._unchanged = StillnessTracker()
        else:
            self._unchanged.forget(request_ids)

    def progress(self, request_id: int) -> str:
        """Return how far a request had come at the last inspection, as `request_alarms` does."""
        status, finished_calls = self._progress[request_id]
        return f"{status} {finished_calls}"

    def alarm_raised(self, request_id: int) -> None:
        """Stop asking for an alarm while this request makes no progress.

        Until then every check asks for it again.
        """
        self._alarmed[request_id] = self._progress[request_id]

    def overtime_alarm_raised(self, request_id: int) -> None:
        """Stop asking for an alarm because this request is still running."""
        self._overtime_alarmed.add(request_id)


def run(stop: threading.Event, *, beat: Callable[[], None]) -> None:
    """Check four times a second until `stop` is set, and beat every two seconds.

    While no request is in flight, a check only reads the revision.
    """
    leases.note_requests_at_start()
    longest_s = settings.CANCEL_DEADLINE + 2 * settings.EMS_TIMEOUT + ALARM_OVERTIME_S
    detector = StallDetector(max_in_flight_s=longest_s)
    guard = HangGuard()
    gate = new_gate()
    beat_number = 0.0

    def work() -> None:
        nonlocal beat_number
        guard.restart()
        check_if_due(detector, gate)
        # By the time of day, at the same moments as other processes: their commits share a flush.
        number = time.time() // heartbeats.INTERVAL_S
        if number != beat_number:
            beat()
            beat_number = number

    task = PeriodicTask(
        name="watchdog",
        work=work,
        interval_s=CHECK_INTERVAL_S,
        keep_connection=True,
        is_aligned=True,
    )
    task.run_until(stop)


def new_gate() -> ChangeGate:
    """Return what keeps an idle watchdog from reading more than the revision at each check."""
    return ChangeGate(interval_s=CHECK_INTERVAL_S, max_idle_s=MAX_IDLE_S, max_age_s=0.0)


def check_if_due(detector: StallDetector, gate: ChangeGate) -> None:
    """Check once, unless no request was in flight the last time and nothing has changed since."""
    try:
        is_due = gate.is_due()
    except Error:
        detector.restart()
        raise
    if is_due and not check_once(detector):
        gate.rest()


def check_once(detector: StallDetector) -> int:
    """Read the requests in flight once, and do what they require; return how many there are."""
    try:
        requests = snapshots()
    except Error:
        detector.restart()
        raise
    findings = detector.inspect(requests, now=time.monotonic())
    if findings.unclaimed:
        execution.run(ids=findings.unclaimed)
    detector.restart(execution.take_over_abandoned(findings.abandoned))
    for request_id in findings.stalled:
        _raise_alarm(
            request_id,
            # A Hold that is blind has an alarm of its own, and its calls may take this long.
            of_holds=False,
            stalled_at=detector.progress(request_id),
            title=f"stuck for {detector.stalled_after_s:g} s",
            instruction=(
                "In that time no process picked up the request, and no attempt or check"
                " finished. Open the request; send another cancel, or cancel manually."
            ),
        )
        detector.alarm_raised(request_id)
    for request_id in findings.overtime:
        _raise_alarm(
            request_id,
            title="still running after its deadline",
            instruction=(
                "It has been running longer than allowed. Check the open orders and cancel manually"
                " if necessary."
            ),
        )
        detector.overtime_alarm_raised(request_id)
    resolve_stalled_alarms()
    return len(requests)


def snapshots(**condition: Any) -> list[RequestSnapshot]:
    """Return the requests in flight, or those of them that fulfil the condition."""
    rows = CancelRequest.objects.in_flight().filter(**condition).order_by("id")
    rows = rows.annotate(
        finished_calls=F("attempt_count") + F("reads"),
        dead_holders=Count("attempts", filter=Q(attempts__by_dead_holder=True)),
    )
    names = [column.name for column in fields(RequestSnapshot)]
    return [
        RequestSnapshot(**row | {"status": Status(row["status"])}) for row in rows.values(*names)
    ]


def _raise_alarm(
    request_id: int,
    *,
    title: str,
    instruction: str,
    of_holds: bool = True,
    stalled_at: str = "",
) -> None:
    """Raise the alarm of a request, unless it has ended, or left the point where it stalled.

    Without such a point it is the alarm that the request is still running.
    """
    with recording(then_release_connection=True):
        rows = CancelRequest.objects.in_flight().select_related("batch")
        if not of_holds:
            rows = rows.exclude(batch__origin=Origin.HOLD)
        request = rows.filter(id=request_id).first()
        if request and (not stalled_at or progress(request) == stalled_at):
            activity = ACTIVITIES[Status(request.status)]
            raise_stalled_alarm(
                request,
                title=f"{title} {activity}",
                instruction=instruction,
                is_overtime=not stalled_at,
            )


class HangGuard:
    """Ends this process when a check hangs, so that its supervisor starts it again.

    The timeouts of the database do not cover a query whose PostgreSQL backend has stopped, for
    example in a hung disk: the connection is alive and no lock is waited for. A check then hangs
    for ever, while a new connection works. What this process was carrying out is taken over like
    the requests of any dead process.
    """

    def __init__(self, *, max_check_s: float = MAX_CHECK_S) -> None:
        self._max_check_s = max_check_s
        self._restarted_at = time.monotonic()
        threading.Thread(target=self._watch, name="hang-guard", daemon=True).start()

    def restart(self) -> None:
        """Measure from now on."""
        self._restarted_at = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._restarted_at < self._max_check_s:
            time.sleep(HANG_CHECK_INTERVAL_S)
        log.error("watchdog_hangs", seconds=self._max_check_s)
        os._exit(1)
