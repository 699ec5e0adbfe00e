"""Does the EMS answer, and does it answer each process that sends cancels?"""

from django.conf import settings

from killswitch.readiness.judgement import Check, foreign
from killswitch.readiness.models import REACH_INTERVAL_S, EmsReach
from killswitch.readiness.snapshot import HealthSnapshot
from killswitch.runtime import heartbeats
from killswitch.runtime.age import age
from killswitch.runtime.heartbeats import Process

MISSED_READS = 3
REACH_TOLERANCE_S = 2.0
CARRIERS = (Process.WORKER, Process.WATCHDOG)


def ems(health: HealthSnapshot) -> Check:
    probe = health.ems_probe
    probe_age = age(at=probe.at if probe else None, now=health.now)
    if probe is None or not probe_age.within(max_read_age_s() + settings.EMS_TIMEOUT):
        return Check(
            name="ems",
            label="EMS",
            ok=False,
            detail=f"{probe_age.phrase('last checked', never='not checked yet')}; state unknown",
            age_seconds=probe_age.seconds,
        )
    detail = foreign(probe.detail)
    if probe.ok and probe.detail:
        detail = "reachable; its list of open orders cannot be read"
    elif probe.ok:
        detail = "reachable, API key accepted"
    return Check(
        name="ems",
        label="EMS",
        ok=probe.ok,
        needed=True,
        detail=detail,
        public=""
        if probe.ok
        else "unreachable, or it rejects our API key, or something else is responding in its place",
        age_seconds=probe_age.seconds,
        milliseconds=probe.milliseconds,
    )


def ems_reach(health: HealthSnapshot) -> Check:
    """Judge what the processes that send cancels have met over new connections of their own.

    A cancel goes to any of the workers, and without workers to a watchdog. If the processes differ
    in the EMS or its key, it is not known which of them is right. One kind of process that has
    tested nothing while it is alive is not covered by what the others have met.
    """
    limit_s = 2 * REACH_INTERVAL_S + settings.EMS_TIMEOUT + REACH_TOLERANCE_S
    reaches = [
        reach for reach in health.reaches if age(at=reach.at, now=health.now).within(limit_s)
    ]
    carriers = [reach for reach in reaches if reach.kind == Process.WORKER]
    if not carriers:
        carriers = [reach for reach in reaches if reach.kind == Process.WATCHDOG]
    failing = [reach for reach in reaches if reach.problem]
    failing.sort(key=lambda reach: reach not in carriers)  # what makes it NOT READY comes first
    warned = [reach for reach in reaches if reach.warning]
    fingerprints = {reach.fingerprint for reach in reaches if not reach.problem}
    tested = {reach.kind for reach in reaches}
    untested = [kind for kind in CARRIERS if kind not in tested and _is_alive(kind, health)]
    is_untested = bool(untested) or not carriers
    ages = [age(at=reach.at, now=health.now).seconds for reach in reaches]
    public = ""
    if failing:
        worst = failing[0]
        verb = "cannot reach the EMS over a new connection"
        detail = f"{_process_name(worst)} {verb}: {foreign(worst.problem)}"
        public = f"{Process(worst.kind).label} {verb}"
        if more := len(failing) - 1:
            detail, public = (f"{text}; and {more} more" for text in (detail, public))
    elif len(fingerprints) > 1:
        names = {reach.fingerprint: _process_name(reach) for reach in reversed(reaches)}
        listed = " and ".join(list(names.values())[:2])
        detail = f"{listed} have different EMS_BASE_URL, EMS_API_KEY or SECRET_KEY"
        public = "the processes have different EMS settings"
    elif warned:
        detail = f"{_process_name(warned[0])}: {warned[0].warning}"
        public = warned[0].warning
    elif is_untested:
        kinds = " and ".join(f"no {kind.label.lower()}" for kind in untested or CARRIERS)
        detail = f"{kinds} has tested its connection lately"
    else:
        count = len(reaches)
        detail = f"tested by {count} process{'' if count == 1 else 'es'}"
    return Check(
        name="ems_reach",
        label="EMS connections",
        ok=not (failing or warned or is_untested) and len(fingerprints) == 1,
        needed=len(fingerprints) > 1 or any(reach.problem for reach in carriers),
        detail=detail,
        public=public,
        age_seconds=max((seconds for seconds in ages if seconds is not None), default=None),
    )


def _is_alive(kind: Process, health: HealthSnapshot) -> bool:
    return age(at=health.beats.get(kind), now=health.now).within(heartbeats.FRESH_S)


def _process_name(reach: EmsReach) -> str:
    return f"{Process(reach.kind).label} on {foreign(reach.host)}"


def max_read_age_s() -> float:
    """Return the age after which a read of the open orders is missing, not merely under way."""
    return MISSED_READS * settings.OBSERVE_INTERVAL + 1.0
