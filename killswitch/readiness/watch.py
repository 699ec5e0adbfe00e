"""Raises an alarm when a cancel would not work for a while, and reports the end of it.

Every process watches, so that one that is alive notices; on each host only the holder of a lock
does. Without the database, which is a likely reason, the channels are notified directly, and the
alarm is recorded afterwards.
"""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now

from killswitch.alarms import services as alarms
from killswitch.alarms.messages import Message
from killswitch.alarms.models import Alarm, AlarmKind, Severity
from killswitch.alarms.outbox import send_to_all_channels
from killswitch.audit.canonical_json import utc_text
from killswitch.audit.recorder import recording
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.judgement import Level, Readiness
from killswitch.runtime.files import lock_file
from killswitch.runtime.heartbeats import HOST, Heartbeat
from killswitch.runtime.kept_connections import release_connection
from killswitch.runtime.periodic import PeriodicTask
from killswitch.runtime.text import duration_text
from killswitch.runtime.time_limit import answered_within

INTERVAL_S = 4.0
NOT_READY_AFTER_S = 10.0
DEGRADED_AFTER_S = 60.0
# What comes and goes is one alarm, not ten.
OVER_AFTER_S = 8.0
MAX_ANSWER_S = 5.0  # of the database, longer than it waits for a lock
# While the first process of all starts, the others are missing.
START_S = 20.0
# A host without a heartbeat for so long reports no end of its alarms, and hides those of no other.
SILENT_AFTER = timedelta(minutes=1)
# A host that only serves pages sends heartbeats only while they are looked at.
GONE_AFTER = timedelta(hours=1)
GONE_CHECK_INTERVAL_S = 60.0
LOCK = "readiness_watch.lock"

TITLES = {
    Level.NOT_READY: "NOT READY: a cancel would probably fail now.",
    Level.DEGRADED: "DEGRADED: a cancel can be recorded, but something is missing.",
}

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Episode:
    """A time during which the readiness is this bad, or worse. Times are monotonic seconds."""

    level: Level
    began_at: float
    began: datetime
    sentence: str = ""
    good_since: float | None = None
    is_reported: bool = False
    is_recorded: bool = False


class ReadinessWatch:
    """What one process has seen, and what it has reported of it."""

    def __init__(
        self,
        *,
        evaluate: Callable[[], Readiness],
        start_s: float = START_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._evaluate = evaluate
        self._clock = clock
        self._ignored_until = clock() + start_s
        self._episodes: dict[Level, Episode] = {}
        self._has_ended_earlier_ones = False
        self._looked_for_gone_hosts_at = float("-inf")

    def step(self) -> None:
        """Evaluate the readiness once, and report what has lasted, or has ended, long enough."""
        readiness, now = self._evaluate(), self._clock()
        if readiness.word is Level.READY:
            self._ignored_until = now
            self._end_alarms_of_earlier_processes()
            self._end_alarms_of_gone_hosts(now=now)
        if now < self._ignored_until:
            return
        is_bad = {
            Level.NOT_READY: readiness.word is Level.NOT_READY,
            Level.DEGRADED: readiness.word is not Level.READY,
        }
        for level, is_on in is_bad.items():
            episode = self._episodes.get(level)
            if is_on:
                if episode is None:
                    episode = Episode(level=level, began_at=now, began=datetime.now(UTC))
                    self._episodes[level] = episode
                episode.sentence, episode.good_since = readiness.sentence, None
                self._report_if_due(episode, readiness, now=now)
            elif episode:
                if episode.good_since is None:
                    episode.good_since = now
                if now - episode.good_since >= OVER_AFTER_S:
                    self._end(episode, readiness, lasted_s=episode.good_since - episode.began_at)

    def _report_if_due(self, episode: Episode, readiness: Readiness, *, now: float) -> None:
        after_s = NOT_READY_AFTER_S if episode.level is Level.NOT_READY else DEGRADED_AFTER_S
        if episode.is_recorded or now - episode.began_at < after_s:
            return
        worse = self._episodes.get(Level.NOT_READY)
        if episode.level is Level.DEGRADED and worse and worse.is_reported:
            return
        title, remark = TITLES[episode.level], ""
        try:
            with answered_within(MAX_ANSWER_S):
                is_new = _raise_unless_raised(episode, title=title)
            episode.is_recorded = True
            # Watchdogs send the notifications of recorded alarms.
            if is_new and any(c.name == "watchdog" and not c.ok for c in readiness.checks):
                remark = "Sent directly, because no watchdog is running."
        except Error as error:
            log.warning("readiness_alarm_not_recorded", error=str(error).strip())
            connection.close()
            remark = "This alarm could not be recorded."
        if remark and not episode.is_reported:
            body = f"{episode.sentence}\n{remark}"
            _notify(Message(title=title, body=body, severity=Severity.READINESS))
        if not episode.is_reported:
            log.error("not_ready", word=str(episode.level), sentence=episode.sentence)
        episode.is_reported = True

    def _end(self, episode: Episode, readiness: Readiness, *, lasted_s: float) -> None:
        lasted, word = duration_text(1000 * lasted_s), episode.level.replace("_", " ")
        if episode.is_reported and episode.is_recorded:
            resolution = f"{_title_of(readiness)} It was {word} for {lasted}."
            if _resolve(episode.level, resolution=resolution):
                body = f"It was {word} for {lasted}: {episode.sentence}"
                _notify(
                    Message(
                        title=_title_of(readiness),
                        body=body,
                        urgent=False,
                        severity=Severity.READINESS,
                    )
                )
        elif episode.is_reported:
            with recording():
                began = f"{episode.began:%Y-%m-%d %H:%M:%S} UTC"
                title = f"{_title_of(readiness)} It was {word} for {lasted}, from {began}."
                _raise(episode, title=title)
        del self._episodes[episode.level]
        log.warning("ready_again", word=str(readiness.word), was=str(episode.level))

    def _end_alarms_of_earlier_processes(self) -> None:
        if not self._has_ended_earlier_ones and not self._episodes:
            for level in TITLES:
                _resolve(level, resolution="Ready. The process that raised this alarm has ended.")
            self._has_ended_earlier_ones = True

    def _end_alarms_of_gone_hosts(self, *, now: float) -> None:
        """Resolve what a host has raised that does not run any more: containers change names."""
        if self._episodes or now - self._looked_for_gone_hosts_at < GONE_CHECK_INTERVAL_S:
            return
        rows = Alarm.objects.unacknowledged().filter(kind=AlarmKind.READINESS)
        hosts = {alarm.pk: _host_of(alarm) for alarm in rows}
        if ids := hosts.keys() - {pk for pk, host in hosts.items() if host == HOST}:
            alive = _hosts_alive(within=GONE_AFTER)
            if ids := {pk for pk in ids if hosts[pk] not in alive}:
                resolution = "Ready. The host that raised this alarm has not been seen for an hour."
                alarms.resolve(ids, resolution=resolution)
        self._looked_for_gone_hosts_at = now


def _raise_unless_raised(episode: Episode, *, title: str) -> bool:
    """Raise the alarm, unless a host that is still running has raised the same one."""
    with recording() as record:
        # All hosts look at the same moment: the second one waits here, and then sees the alarm.
        record.take_revision()
        same = Alarm.objects.unacknowledged().filter(kind=AlarmKind.READINESS, title=title)
        hosts = {_host_of(alarm) for alarm in same}
        if hosts and (HOST in hosts or hosts & _hosts_alive(within=SILENT_AFTER)):
            return False
        _raise(episode, title=title)
    return True


def _notify(message: Message) -> None:
    release_connection()  # none is held while the channels are waited for
    send_to_all_channels(message)


def _host_of(alarm: Alarm) -> str:
    return alarm.subject.partition(" ")[0]


def _hosts_alive(*, within: timedelta) -> set[str]:
    """Return the hosts with a heartbeat, by the database's clock."""
    rows = Heartbeat.objects.filter(beat_at__gte=Now() - within)
    return set(rows.values_list("host", flat=True))


def _raise(episode: Episode, *, title: str) -> None:
    alarms.raise_alarm(
        kind=AlarmKind.READINESS,
        subject=f"{HOST} {episode.level} {utc_text(episode.began)}",
        title=title,
        detail=episode.sentence,
    )


def _resolve(level: Level, *, resolution: str) -> bool:
    """Resolve the alarms that this host has raised; return whether there were any."""
    rows = Alarm.objects.unacknowledged().filter(
        kind=AlarmKind.READINESS, subject__startswith=f"{HOST} {level} "
    )
    ids = list(rows.values_list("pk", flat=True))
    if ids:
        alarms.resolve(ids, resolution=resolution)
    return bool(ids)


def _title_of(readiness: Readiness) -> str:
    return "READY again." if readiness.word is Level.READY else "A cancel can be recorded again."


class _HostLock:
    """The right of one process of this host to watch. The end of the process releases it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def is_held(self) -> bool:
        """Take the lock if it is free. One that cannot be made must not keep all from watching."""
        if self._file:
            return True
        try:
            with ExitStack() as cleanup:
                file = cleanup.enter_context(self._path.open("ab"))
                if not lock_file(file):
                    return False
                cleanup.pop_all()  # it stays open
                self._file = file
        except OSError as error:
            log.warning("readiness_watched_without_lock", error=str(error))
        return True


def evaluate_in_time() -> Readiness:
    """Evaluate the readiness; a database that never answers is NOT READY as well."""
    with answered_within(MAX_ANSWER_S):
        return evaluate(beats=False)


def start_thread(stop: threading.Event) -> None:
    """Watch until `stop` is set."""
    watch: ReadinessWatch | None = None
    lock = _HostLock(Path(settings.KILLSWITCH_HOME) / LOCK)

    def work() -> None:
        nonlocal watch
        if lock.is_held():
            watch = watch or ReadinessWatch(evaluate=evaluate_in_time)
            watch.step()

    PeriodicTask(
        name="readiness_watch", work=work, interval_s=INTERVAL_S, is_aligned=True
    ).start_thread(stop)
