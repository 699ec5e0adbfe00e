"""Finds requests that nobody carries out, and carries them out; needs no broker.

It judges by its own monotonic clock and by counters that stand still, never by comparing wall
clocks. Any number of watchdogs may run side by side: taking over is a compare-and-set.
"""

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models import Count, F, Q

from killswitch.alarms import services as alarms
from killswitch.alarms.models import Kind as AlarmKind
from killswitch.audit import chain
from killswitch.cancels import execution
from killswitch.cancels.leases import StaleLease, short_transaction
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import LABELS, Status
from killswitch.runtime.revisions import next_revision

CHECK_INTERVAL_S = 0.25  # seconds
HEARTBEAT_INTERVAL_S = 1.0  # seconds
UNCLAIMED_AFTER_S = 1.0  # seconds that the workers have for a new request
STALE_AFTER_S = 3.0  # seconds without a proof of life
MAX_CHECK_S = 20.0  # seconds after which a look is taken to hang
OVERTIME = 10.0  # seconds past its time at which a request in flight is an alarm, progress or not
STALLED_AFTER_S = 5.0  # seconds without progress

# In the past tense: an alarm stands on the screen also after the kill has ended.
NO_PROGRESS = "No claim, call or read had ended"
NO_END = "It was in flight for longer than a request may take"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class RequestSnapshot:
    """A request in flight as one look found it."""

    id: int
    status: Status
    lease_token: str
    lease_beats: int
    ended: int  # attempts and reads on record
    deaths: int = 0  # of these, attempts of holders that died


@dataclass(kw_only=True)
class _Tracked:
    sight: RequestSnapshot
    unmoved_since: float  # monotonic seconds: anything at all
    no_progress_since: float  # monotonic seconds: claims, attempts and reads that ended
    first_seen: float  # monotonic seconds
    told: bool = False


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one look calls for."""

    unclaimed: list[int]
    overdue: list[StaleLease]
    stalled: list[int]
    endless: list[int]


class StallDetector:
    """Remembers since when nothing moved. Pure: it is given the sights and the time."""

    def __init__(self, *, endless_after: float = float("inf")) -> None:
        self._memories: dict[int, _Tracked] = {}
        self._endless_after = endless_after

    def look(self, sights: Iterable[RequestSnapshot], *, now: float) -> Findings:
        """Compare with the last look; `now` is in monotonic seconds."""
        before, self._memories = self._memories, {}
        findings = Findings(unclaimed=[], overdue=[], stalled=[], endless=[])
        for sight in sights:
            memory = _remember(before.get(sight.id), sight, now=now)
            self._memories[sight.id] = memory
            _judge(memory, findings, now=now, endless_after=self._endless_after)
        return findings

    def told(self, request_id: int) -> None:
        """Its alarm has been raised; until then every look asks for it again."""
        self._memories[request_id].told = True


def _remember(memory: _Tracked | None, sight: RequestSnapshot, *, now: float) -> _Tracked:
    if memory is None:
        return _Tracked(sight=sight, unmoved_since=now, no_progress_since=now, first_seen=now)
    was = memory.sight
    if was != sight:
        memory.unmoved_since = now
    # A takeover is none: what every holder dies of would never be an alarm.
    if (was.status, was.ended - was.deaths) != (sight.status, sight.ended - sight.deaths):
        memory.no_progress_since = now
    memory.sight = sight
    return memory


def _judge(memory: _Tracked, findings: Findings, *, now: float, endless_after: float) -> None:
    sight, unmoved = memory.sight, now - memory.unmoved_since
    if sight.status is Status.REQUESTED:
        if unmoved >= UNCLAIMED_AFTER_S:
            findings.unclaimed.append(sight.id)
    elif not sight.lease_token or unmoved >= STALE_AFTER_S:
        findings.overdue.append(
            StaleLease(
                id=sight.id,
                status=sight.status,
                lease_token=sight.lease_token,
                lease_beats=sight.lease_beats,
                ended=sight.ended,
            )
        )
    if memory.told:
        return
    if now - memory.no_progress_since >= STALLED_AFTER_S:
        findings.stalled.append(sight.id)
    elif now - memory.first_seen >= endless_after:
        findings.endless.append(sight.id)


def run(stop: threading.Event, *, beat: Callable[[], None]) -> None:
    """Look four times a second until `stop` is set, and show once a second that it does.

    A database that is gone is waited for.
    """
    longest = settings.CANCEL_DEADLINE + 2 * settings.EMS_TIMEOUT + OVERTIME
    memory = StallDetector(endless_after=longest)
    guard = HangGuard()
    beat_at = 0.0
    while not stop.wait(CHECK_INTERVAL_S):
        guard.looked()
        try:
            check_once(memory)
            if time.monotonic() >= beat_at:
                beat()
                beat_at = time.monotonic() + HEARTBEAT_INTERVAL_S
        except Error as error:
            log.warning("database_gone", error=str(error).strip())
            connection.close()
        except Exception:  # nobody would look any more
            log.exception("look_failed")


class HangGuard:
    """Ends this process when a look hangs, so that its supervisor replaces it.

    What the process was carrying out is then taken over like that of any dead process.
    """

    def __init__(self, *, patience: float = MAX_CHECK_S) -> None:
        self._patience = patience
        self._looked_at = time.monotonic()
        threading.Thread(target=self._watch, name="guard", daemon=True).start()

    def looked(self) -> None:
        self._looked_at = time.monotonic()

    def _watch(self) -> None:
        while time.monotonic() - self._looked_at < self._patience:
            time.sleep(HEARTBEAT_INTERVAL_S)
        log.error("watchdog_hangs", seconds=self._patience)
        os._exit(1)


def check_once(memory: StallDetector) -> None:
    """One look, and what it calls for."""
    findings = memory.look(_snapshots(), now=time.monotonic())
    if findings.unclaimed:
        execution.run(ids=findings.unclaimed)
    execution.take_over_stale(findings.overdue)
    for request_id in findings.stalled:
        _raise(request_id, title="no progress for 5 s", why=NO_PROGRESS)
        memory.told(request_id)
    for request_id in findings.endless:
        _raise(request_id, title="the kill went on past its time", why=NO_END)
        memory.told(request_id)


def _snapshots() -> list[RequestSnapshot]:
    rows = CancelRequest.objects.in_flight().order_by("id")
    rows = rows.annotate(
        ended=F("attempt_count") + F("reads"),
        deaths=Count("attempts", filter=Q(attempts__by_dead_holder=True)),
    )
    names = [field.name for field in dataclasses.fields(RequestSnapshot)]
    return [
        RequestSnapshot(**row | {"status": Status(row["status"])}) for row in rows.values(*names)
    ]


def _raise(request_id: int, *, title: str, why: str) -> None:
    with short_transaction():
        request = CancelRequest.objects.in_flight().filter(id=request_id).first()
        if request is None:
            return
        facts = alarms.raise_alarm(
            kind=AlarmKind.STALLED,
            subject=str(request.uuid),
            request_id=str(request.uuid),
            exchange_id=request.exchange_id,
            title=f"{request.exchange_id}: {title}.",
            detail=f"{why}. It was at “{LABELS[Status(request.status)]}” then.",
            revision=next_revision(),
        )
        if facts:
            chain.append(*facts)
