"""Would a click work right now? One function for each thing that it depends on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from django.conf import settings
from django.db import Error

from killswitch.readiness import canary, hearts, signs
from killswitch.readiness.ages import Age, age
from killswitch.readiness.models import Process
from killswitch.readiness.probes import EMS
from killswitch.readiness.signs import Signs

CANARY_FRESH = 3 * canary.EVERY + 1.0  # seconds
LOOKS_MISSED = 3
LOG_FRESH = 600.0  # seconds; the newest events are verified about once a minute


class Word(StrEnum):
    """The answer in a word."""

    READY = "READY"
    DEGRADED = "DEGRADED"
    NOT_READY = "NOT_READY"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding. `needed`: without it no click works, at least as things stand now."""

    name: str
    label: str
    ok: bool
    needed: bool = False
    detail: str
    age_seconds: float | None = None
    milliseconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """The answer, in a word, in a sentence, and with what it rests on."""

    word: Word
    sentence: str
    checks: tuple[Check, ...]


def look() -> Readiness:
    """Ask now. Never raises for what the database does; may wait as long as the database does."""
    try:
        found = signs.read()
    except Error:
        return without_database("the database cannot be written to")
    return judge(tuple(check(found) for check in CHECKS))


def without_database(detail: str) -> Readiness:
    """The answer when nothing can be recorded, and so nothing can be asked for."""
    check = Check(name="database", label="Database", ok=False, needed=True, detail=detail)
    return judge((check,))


def judge(checks: tuple[Check, ...]) -> Readiness:
    """The word and the sentence that follow from the findings."""
    checks = _somebody_must_carry_out(checks)
    missing = [check for check in checks if check.needed and not check.ok]
    weak = [check for check in checks if not check.needed and not check.ok]
    if missing:
        return Readiness(
            word=Word.NOT_READY,
            sentence=f"A click would not work now: {_listed(missing)}.",
            checks=checks,
        )
    if weak:
        return Readiness(
            word=Word.DEGRADED, sentence=f"A click works, but: {_listed(weak)}.", checks=checks
        )
    return Readiness(word=Word.READY, sentence="A click works now.", checks=checks)


def _listed(checks: list[Check]) -> str:
    return "; ".join(f"{check.label.lower()}: {check.detail}" for check in checks)


def _somebody_must_carry_out(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Workers and watchdogs stand in for each other; one of them is needed."""
    carriers = {check.name: check.ok for check in checks if check.name in {"worker", "watchdog"}}
    if not carriers or any(carriers.values()):
        return checks
    return tuple(
        replace(check, needed=True) if check.name in carriers else check for check in checks
    )


def _database(found: Signs) -> Check:
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


def _ems(found: Signs) -> Check:
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
        detail="answers and takes our key" if probe.ok else _reason(probe.detail),
        age_seconds=asked.seconds,
        milliseconds=probe.milliseconds,
    )


def _worker(found: Signs) -> Check:
    """By the canary's way; where nobody sends canaries, by the workers' hearts."""
    bird = found.canary
    sent = age(at=bird.sent_at if bird else None, now=found.now)
    if bird is None or not sent.within(CANARY_FRESH):
        beaten = _beaten(found, kind=Process.WORKER)
        return _alive("worker", label="Workers", beaten=beaten, words="beat; no canary is sent")
    answered = age(at=bird.answered_at, now=found.now)
    ok = answered.within(CANARY_FRESH)
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


def _broker(found: Signs) -> Check:
    bird = found.canary
    sent = age(at=bird.sent_at if bird else None, now=found.now)
    known = bird is not None and sent.within(CANARY_FRESH)
    error = bird.error if bird else ""
    return Check(
        name="broker",
        label="Queue",
        ok=known and not error,
        detail=(error or "takes messages") if known else f"last tried {sent}",
        age_seconds=sent.seconds,
    )


def _watchdog(found: Signs) -> Check:
    beaten = _beaten(found, kind=Process.WATCHDOG)
    return _alive("watchdog", label="Watchdog", beaten=beaten, words="at work")


def _observer(found: Signs) -> Check:
    beaten = _beaten(found, kind=Process.OBSERVER)
    return _alive("observer", label="Observer", beaten=beaten, words="at work")


def _figures(found: Signs) -> Check:
    seen = age(at=found.observation.seen_at if found.observation else None, now=found.now)
    error = found.observation.error if found.observation else ""
    ok = seen.within(_looks()) and not error
    return Check(
        name="figures",
        label="Open orders",
        ok=ok,
        detail=f"read {seen}" + (f" ({_reason(error)})" if error else ""),
        age_seconds=seen.seconds,
    )


def _alarms(found: Signs) -> Check:
    """Only told: an alarm does not keep a click from working."""
    count = found.open_alarms
    waiting = "no alarm waits" if not count else f"{count} not acknowledged"
    return Check(name="alarms", label="Alarms", ok=True, detail=waiting)


def _log(found: Signs) -> Check:
    """A log that is broken keeps no click from working, and must be seen at once."""
    last = found.verification
    if last is None:
        return Check(name="log", label="Audit log", ok=True, detail="not verified yet")
    verified = age(at=last.at, now=found.now)
    fresh = verified.within(LOG_FRESH)
    if not last.ok:
        detail = _reason(f"broken: {last.reason}")
    else:
        detail = "chain verified" if fresh else f"last verified {verified}"
    return Check(
        name="log",
        label="Audit log",
        ok=last.ok and fresh,
        detail=detail,
        age_seconds=verified.seconds,
    )


CHECKS: tuple[Callable[[Signs], Check], ...] = (
    _database,
    _ems,
    _worker,
    _broker,
    _watchdog,
    _observer,
    _figures,
    _log,
    _alarms,
)


def _beaten(found: Signs, *, kind: Process) -> Age:
    return age(at=found.beats.get(kind), now=found.now)


def _alive(name: str, *, label: str, beaten: Age, words: str) -> Check:
    ok = beaten.within(hearts.FRESH)
    return Check(
        name=name,
        label=label,
        ok=ok,
        detail=words if ok else f"last beat: {beaten}",
        age_seconds=beaten.seconds,
    )


def _looks() -> float:
    """Seconds after which a look at the EMS is missing rather than on its way."""
    return LOOKS_MISSED * settings.OBSERVE_INTERVAL + 1.0


def _reason(detail: str) -> str:
    """The first words only: /readyz is public, and a page shows the rest."""
    return detail[:200] or "no reason is known"
