"""Would a click work right now? One function for each thing that it depends on."""

from collections.abc import Callable

from django.conf import settings
from django.db import Error

from killswitch.accounts.client_info import clean
from killswitch.exchanges.models import Exchange
from killswitch.observer import canary
from killswitch.observer.probes import EMS
from killswitch.readiness import snapshot
from killswitch.readiness.models import Probe
from killswitch.readiness.snapshot import HealthSnapshot
from killswitch.readiness.status import (
    Check,
    Level,
    Readiness,
    judge,
    redacted_for_public,
    without_database,
)
from killswitch.runtime import heartbeats
from killswitch.runtime.age import Age, age
from killswitch.runtime.heartbeats import Process

__all__ = [
    "Check",
    "Level",
    "Readiness",
    "evaluate",
    "judge",
    "redacted_for_public",
    "without_database",
]

CANARY_FRESH_S = 3 * canary.CANARY_INTERVAL_S + 1.0  # seconds
MISSED_READS = 3
LOG_FRESH_S = 600.0  # seconds; the newest events are verified about once a minute


def evaluate() -> Readiness:
    """Ask now. Never raises for what the database does; may wait as long as the database does."""
    try:
        found = snapshot.take()
        return judge(tuple(check(found) for check in CHECKS))
    except snapshot.DiskFull as full:
        return without_database(str(full))
    except Error:
        return without_database("the database cannot be written to")


def _database(found: HealthSnapshot) -> Check:
    return Check(
        name="database",
        label="Database",
        ok=found.log_is_readable,
        needed=True,
        detail="can be written to"
        if found.log_is_readable
        else "the audit log cannot be read, so that no press can be recorded",
        milliseconds=found.write_ms,
    )


def _ems(found: HealthSnapshot) -> Check:
    probe = found.probes.get(EMS)
    asked = age(at=probe.at if probe else None, now=found.now)
    if probe is None or not asked.within(_looks() + settings.EMS_TIMEOUT):
        return Check(
            name="ems",
            label="EMS",
            ok=False,
            detail=f"last asked {asked}, so nothing is known of it",
            age_seconds=asked.seconds,
        )
    return Check(
        name="ems",
        label="EMS",
        ok=probe.ok,
        needed=True,
        detail=_answer(probe) if probe.ok else _reason(probe.detail),
        public="" if probe.ok else "does not answer, or not as an EMS that takes our key",
        age_seconds=asked.seconds,
        milliseconds=probe.milliseconds,
    )


def _worker(found: HealthSnapshot) -> Check:
    """By the canary's way; where nobody sends canaries, by the workers' hearts."""
    bird = found.canary
    sent = age(at=bird.sent_at if bird else None, now=found.now)
    if bird is None or not sent.within(CANARY_FRESH_S):
        beaten = _beaten(found, kind=Process.WORKER)
        return _alive("worker", label="Workers", beaten=beaten, words="beat; no canary is sent")
    answered = age(at=bird.answered_at, now=found.now)
    ok = answered.within(CANARY_FRESH_S)
    return Check(
        name="worker",
        label="Workers",
        ok=ok,
        detail="take from the queue"
        if ok
        else f"a message through the queue last came back {answered}",
        age_seconds=answered.seconds,
        milliseconds=bird.milliseconds if ok else None,
    )


def _broker(found: HealthSnapshot) -> Check:
    bird = found.canary
    sent = age(at=bird.sent_at if bird else None, now=found.now)
    known = bird is not None and sent.within(CANARY_FRESH_S)
    error = bird.error if bird else ""
    return Check(
        name="broker",
        label="Queue",
        ok=known and not error,
        detail=(error or "takes messages") if known else f"last tried {sent}",
        age_seconds=sent.seconds,
    )


def _watchdog(found: HealthSnapshot) -> Check:
    beaten = _beaten(found, kind=Process.WATCHDOG)
    return _alive("watchdog", label="Watchdog", beaten=beaten, words="at work")


def _observer(found: HealthSnapshot) -> Check:
    beaten = _beaten(found, kind=Process.OBSERVER)
    return _alive("observer", label="Observer", beaten=beaten, words="at work")


def _figures(found: HealthSnapshot) -> Check:
    seen = age(at=found.observation.seen_at if found.observation else None, now=found.now)
    error = found.observation.error if found.observation else ""
    ok = seen.within(_looks()) and not error
    return Check(
        name="figures",
        label="Open orders",
        ok=ok,
        detail=f"read {seen}" + (f" ({_reason(error)})" if error else ""),
        public=f"read {seen}; cannot be read now" if error else "",
        age_seconds=seen.seconds,
    )


def _exchanges(_: HealthSnapshot) -> Check:
    enabled = Exchange.objects.enabled().count()
    return Check(
        name="exchanges",
        label="Exchanges",
        ok=enabled > 0,
        needed=True,
        detail=f"{enabled} enabled"
        if enabled
        else "none is enabled; an administrator enables them",
    )


def _alarms(found: HealthSnapshot) -> Check:
    """Only told: an alarm does not keep a click from working."""
    count = found.open_alarms
    waiting = "no alarm waits" if not count else f"{count} not acknowledged"
    return Check(name="alarms", label="Alarms", ok=True, detail=waiting)


def _log(found: HealthSnapshot) -> Check:
    """A log that is broken keeps no click from working, and must be seen at once."""
    last = found.verification
    if last is None:
        return Check(name="log", label="Audit log", ok=True, detail="not verified yet")
    verified = age(at=last.at, now=found.now)
    fresh = verified.within(LOG_FRESH_S)
    if not last.ok:
        detail = _reason(f"broken: {last.reason}")
    else:
        detail = "chain verified" if fresh else f"last verified {verified}"
    return Check(
        name="log",
        label="Audit log",
        ok=last.ok and fresh,
        detail=detail,
        public="" if last.ok else "broken",
        age_seconds=verified.seconds,
    )


CHECKS: tuple[Callable[[HealthSnapshot], Check], ...] = (
    _database,
    _ems,
    _worker,
    _broker,
    _watchdog,
    _observer,
    _figures,
    _exchanges,
    _log,
    _alarms,
)


def _beaten(found: HealthSnapshot, *, kind: Process) -> Age:
    return age(at=found.beats.get(kind), now=found.now)


def _alive(name: str, *, label: str, beaten: Age, words: str) -> Check:
    ok = beaten.within(heartbeats.FRESH_S)
    return Check(
        name=name,
        label=label,
        ok=ok,
        detail=words if ok else f"last beat: {beaten}",
        age_seconds=beaten.seconds,
    )


def _answer(probe: Probe) -> str:
    if probe.detail:
        return "answers; its list of open orders cannot be read"
    return "answers and takes our key"


def _looks() -> float:
    """Seconds after which a look at the EMS is missing rather than on its way."""
    return MISSED_READS * settings.OBSERVE_INTERVAL + 1.0


def _reason(detail: str) -> str:
    """The first words of somebody else, without signs that act on a screen."""
    return clean(detail, 200) or "no reason is known"
