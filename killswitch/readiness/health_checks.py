"""Would a cancel work right now? One function for each thing that it depends on."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import Error

from killswitch.audit.verification.explanations import with_meaning
from killswitch.break_glass import rehearsal
from killswitch.exchanges.models import Exchange
from killswitch.holds.models import Hold
from killswitch.readiness import snapshot
from killswitch.readiness.ems_checks import ems, ems_reach, max_read_age_s
from killswitch.readiness.judgement import Check, Readiness, foreign, judge, without_database
from killswitch.readiness.models import CANARY_INTERVAL_S
from killswitch.readiness.snapshot import HealthSnapshot
from killswitch.runtime import heartbeats
from killswitch.runtime.age import age
from killswitch.runtime.heartbeats import Process
from killswitch.runtime.text import pluralize_count

CANARY_FRESH_S = 3 * CANARY_INTERVAL_S + 1.0
BREAK_GLASS_FRESH_S = 24 * 3600.0  # a host rehearses every hour
LOG_FRESH_S = 600.0  # the newest events are verified about once a minute
MAX_HOLD_READ_DELAY_S = 5.0  # in addition to the interval, after which a Hold is not enforced
MAX_LISTED_HOLDS = 3


def evaluate(*, beats: bool = True) -> Readiness:
    """Check everything now; a database error becomes NOT READY. Waits as long as the database.

    With `beats`, this process is a web process, and shows that it is alive.
    """
    try:
        health = snapshot.take(beats=beats)
        return judge(tuple(check(health) for check in CHECKS))
    except snapshot.DiskFull as error:
        return without_database(str(error))
    except Error:
        return without_database("cannot be written to")


def _database(health: HealthSnapshot) -> Check:
    problem = health.trial.problem
    if not health.log_is_readable:
        problem = "the audit log cannot be read, so no request can be recorded"
    return Check(
        name="database",
        label="Database",
        ok=not problem,
        needed=True,
        detail=foreign(problem) if problem else "writable",
        public="no request can be recorded" if problem else "",
        milliseconds=health.write_ms,
    )


def _version(health: HealthSnapshot) -> Check:
    """Judge by the migrations; whether a cancel can be recorded all the same is tried out."""
    warning = health.trial.warning
    return Check(
        name="version",
        label="Database version",
        ok=not warning,
        detail=foreign(warning) if warning else "matches this version",
    )


def _worker(health: HealthSnapshot) -> Check:
    """Judge by the canary; where no canaries are sent, by the workers' heartbeats."""
    canary = health.canary
    test_age = age(at=canary.sent_at if canary else None, now=health.now)
    if canary is None or not test_age.within(CANARY_FRESH_S):
        detail = "running; the queue is not being tested"
        return _alive(health, Process.WORKER, label="Workers", detail=detail)
    arrival_age = age(at=canary.answered_at, now=health.now)
    ok = arrival_age.within(CANARY_FRESH_S)
    last_arrival = arrival_age.phrase(
        "last message through the queue arrived", never="no message has come through the queue yet"
    )
    return Check(
        name="worker",
        label="Workers",
        ok=ok,
        detail="running" if ok else last_arrival,
        age_seconds=arrival_age.seconds,
        milliseconds=canary.milliseconds if ok else None,
    )


def _broker(health: HealthSnapshot) -> Check:
    canary = health.canary
    test_age = age(at=canary.sent_at if canary else None, now=health.now)
    is_fresh = test_age.within(CANARY_FRESH_S)
    error = canary.error if canary and is_fresh else ""
    status = "running" if is_fresh else test_age.phrase("last tested", never="not tested yet")
    return Check(
        name="broker",
        label="Queue",
        ok=is_fresh and not error,
        detail=error or status,
        age_seconds=test_age.seconds,
    )


def _figures(health: HealthSnapshot) -> Check:
    observation = health.observation
    read_age = age(at=observation.seen_at if observation else None, now=health.now)
    error = observation.error if observation else ""
    detail = read_age.phrase("last read", never="not read yet")
    return Check(
        name="figures",
        label="Open orders",
        ok=read_age.within(max_read_age_s()) and not error,
        detail=f"{detail} ({foreign(error)})" if error else detail,
        public=f"{detail}; cannot be read now" if error else "",
        age_seconds=read_age.seconds,
    )


def _exchanges(_: HealthSnapshot) -> Check:
    count = Exchange.objects.enabled().count()
    return Check(
        name="exchanges",
        label="Exchanges",
        ok=count > 0,
        needed=True,
        detail=f"{count} enabled" if count else "none enabled; ask an administrator",
    )


def _holds(health: HealthSnapshot) -> Check:
    """Fail while a Hold is not enforced, or is blind; other cancels work all the same."""
    problems = list(filter(None, (_hold_problem(hold, now=health.now) for hold in health.holds)))
    ages = [age(at=hold.last_read_at, now=health.now).seconds for hold in health.holds]
    count = len(health.holds)
    more = len(problems) - MAX_LISTED_HOLDS
    detail = (
        f"{pluralize_count(count, 'exchange')} held, lists read" if count else "no exchange is held"
    )
    public = ""
    if problems:
        listed = [*problems[:MAX_LISTED_HOLDS], *([f"and {more} more"] if more > 0 else [])]
        detail = "; ".join(listed)
        verb = "is" if len(problems) == 1 else "are"
        of_all = f"{len(problems)} of {pluralize_count(count, 'Hold')}"
        public = f"{of_all} {verb} blind or not enforced"
    return Check(
        name="holds",
        label="Holds",
        ok=not problems,
        detail=detail,
        public=public,
        age_seconds=max((seconds for seconds in ages if seconds is not None), default=None),
    )


def _hold_problem(hold: Hold, *, now: datetime) -> str:
    """Return why a Hold may not cancel what the EMS lists, empty if it does."""
    name = f"Hold on {foreign(hold.exchange_id)}"
    read_age = age(at=hold.last_read_at or hold.started_at, now=now)
    event = "last list read" if hold.last_read_at else "no list read yet, started"
    last_read = read_age.phrase(event, never="")
    if hold.blind_since:
        return f"{name} is blind: {last_read} ({foreign(hold.read_error)})"
    if read_age.within(MAX_HOLD_READ_DELAY_S + settings.HOLD_INTERVAL):
        return ""
    return f"{name} is not being enforced: {last_read}"


def _break_glass(_: HealthSnapshot) -> Check:
    """Judge by the last rehearsal of this host; no cancel with the database depends on it.

    Each host has a journal of its own and judges itself: what others can do is not known here.
    """
    last = rehearsal.read(Path(settings.KILLSWITCH_HOME))
    rehearsal_age = age(at=last.succeeded_at if last else None, now=datetime.now(UTC))
    ok = rehearsal_age.within(BREAK_GLASS_FRESH_S)
    never = "never rehearsed on this host"
    detail = rehearsal_age.phrase("rehearsed on this host", never=never)
    failures = "; ".join(last.failures) if last else ""
    return Check(
        name="break_glass",
        label="Break glass",
        ok=ok,
        detail=(
            f"{detail}; the last rehearsal failed: {foreign(failures)}" if failures else detail
        ),
        public=f"{detail}; the last rehearsal failed" if failures else "",
        age_seconds=rehearsal_age.seconds,
    )


def _alarms(health: HealthSnapshot) -> Check:
    """Always pass: a cancel works whether or not alarms are open."""
    count = health.open_alarms
    detail = f"{count} not acknowledged" if count else "no unacknowledged alarms"
    return Check(name="alarms", label="Alarms", ok=True, detail=detail)


def _log(health: HealthSnapshot) -> Check:
    """A log that failed verification is no obstacle to a cancel, and must be seen at once."""
    last = health.verification
    if last is None:
        return Check(name="log", label="Audit log", ok=True, detail="not verified yet")
    verification_age = age(at=last.at, now=health.now)
    is_fresh = verification_age.within(LOG_FRESH_S)
    detail = "chain verified"
    if not last.ok:
        detail = foreign(f"failed verification. {with_meaning(last.reason)}".removesuffix("."))
    elif not is_fresh:
        detail = verification_age.phrase("last verified", never="")
    return Check(
        name="log",
        label="Audit log",
        ok=last.ok and is_fresh,
        detail=detail,
        public="" if last.ok else "failed verification",
        age_seconds=verification_age.seconds,
    )


CHECKS: tuple[Callable[[HealthSnapshot], Check], ...] = (
    _database,
    _version,
    ems,
    ems_reach,
    _worker,
    _broker,
    lambda health: _alive(health, Process.WATCHDOG),
    lambda health: _alive(health, Process.OBSERVER),
    _figures,
    _exchanges,
    _holds,
    _log,
    _break_glass,
    _alarms,
)


def _alive(
    health: HealthSnapshot, process: Process, *, label: str = "", detail: str = "running"
) -> Check:
    beat_age = age(at=health.beats.get(process), now=health.now)
    ok = beat_age.within(heartbeats.FRESH_S)
    return Check(
        name=process.value.lower(),
        label=label or process.label,
        ok=ok,
        detail=detail if ok else beat_age.phrase("last heartbeat", never="no heartbeat yet"),
        age_seconds=beat_age.seconds,
    )
