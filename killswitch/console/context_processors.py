"""What every page needs: the environment, readiness, alarms, permissions. Read only when shown."""

from operator import attrgetter
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from killswitch.accounts.permissions import Permission, has_permission
from killswitch.accounts.services import is_only_acknowledger
from killswitch.alarms.models import KILL_KINDS, Alarm, Severity
from killswitch.cancels import manual_cancel
from killswitch.console.display import Display
from killswitch.exchanges.models import Exchange, Observation
from killswitch.exchanges.runbook import runbook_text
from killswitch.holds.view_models import HeldSummary, unread_after_ms
from killswitch.readiness.judgement import Level
from killswitch.readiness.views import READINESS
from killswitch.runtime.compiled_query import CompiledQuery
from killswitch.runtime.revisions import current
from killswitch.runtime.text import pluralize_count

MAX_ALARMS_READ = 200  # for one line; of more, all are counted

# How the header names the environment.
ENVIRONMENTS = {
    "demo": {"css": "demo", "word": "DEMO", "title": "Simulated EMS: no real orders."},
    "uat": {"css": "uat", "word": "UAT", "title": "User acceptance test."},
    "production": {"css": "production", "word": "PRODUCTION", "title": "Real orders, real money."},
    # The console uses a real EMS, and KILLSWITCH_ENVIRONMENT does not name the environment.
    "real": {
        "css": "production",
        "word": "REAL EMS",
        "title": (
            "Real orders. The environment is not named: ask the system operator to set"
            " KILLSWITCH_ENVIRONMENT."
        ),
    },
}

# static/js/freshness.js has the same table.
BADGES = {
    Level.READY: ("ok", "good"),
    Level.DEGRADED: ("half", "warn"),
    Level.NOT_READY: ("no", "bad"),
}


class ReadinessBar:
    """The newest readiness of this process, at most about a second old, as every page shows it."""

    def __init__(self) -> None:
        self.readiness = READINESS.get()
        self.word = self.readiness.word.value
        self.icon, self.tone = BADGES[self.readiness.word]
        self.note = self.readiness.sentence
        if self.readiness.word is Level.READY:
            checks = [row for row in self.readiness.checks if row.milliseconds is not None]
            self.note = " · ".join(f"{row.label} {row.milliseconds:.0f} ms" for row in checks)


_worst_alarms = CompiledQuery(
    lambda: Alarm.objects.unacknowledged().worst_first().defer("detail")[:MAX_ALARMS_READ]
)
_observed_at = CompiledQuery(lambda: Observation.objects.values_list("seen_at"))


class AlarmSummary:
    """The worst unacknowledged alarm, and how many there are of which severity."""

    def __init__(self) -> None:
        unacknowledged = Alarm.objects.unacknowledged()
        alarms: list[Alarm] = list(_worst_alarms.objects())
        self.worst = alarms[0] if alarms else None
        self.newest = max(alarms, key=attrgetter("pk"), default=None)
        self.count = len(alarms)
        self.kill_count = sum(alarm.severity is Severity.KILL for alarm in alarms)
        if self.count == MAX_ALARMS_READ:
            self.newest = unacknowledged.order_by("-id").defer("detail").first()
            self.count = unacknowledged.count()
            self.kill_count = unacknowledged.filter(kind__in=KILL_KINDS).count()
        self.other_count = self.count - self.kill_count

    @property
    def headline(self) -> str:
        """Return e.g. "2 kill alarms", or without any the number of all alarms."""
        if self.kill_count:
            return pluralize_count(self.kill_count, "kill alarm")
        return pluralize_count(self.count, "alarm")


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the context of every page, lazily, so that an error page needs no database."""
    environment, demo = ENVIRONMENTS[settings.KILLSWITCH_ENVIRONMENT], ENVIRONMENTS["demo"]
    if settings.DEMO and environment is not demo:
        environment = {**demo, "word": f"{environment['word']} · SIMULATED EMS"}

    def may(permission: Permission) -> Any:
        return SimpleLazyObject(lambda: has_permission(request.user, permission))

    return {
        "environment": environment,
        "display": Display.of(request),
        # Read before the rest of the page; a page with live rows brings its own, read before them.
        "known": SimpleLazyObject(current),
        "runbook_text": SimpleLazyObject(runbook_text),
        "alarms": SimpleLazyObject(AlarmSummary),
        "observed_at": SimpleLazyObject(lambda: (_observed_at.first() or [None])[0]),
        "readiness": SimpleLazyObject(ReadinessBar),
        "may_cancel": may(Permission.CANCEL),
        "held": SimpleLazyObject(HeldSummary.now),
        "unread_after_ms": unread_after_ms(),
        "may_hold": may(Permission.HOLD),
        "may_acknowledge": may(Permission.ACKNOWLEDGE),
        "may_acknowledge_own": SimpleLazyObject(lambda: is_only_acknowledger(request.user)),
        "may_audit": may(Permission.AUDIT),
        "may_administer": may(Permission.ADMINISTER),
        "stale_after": max(10, round(settings.OBSERVE_INTERVAL * 4)),
        "manual_cancel_lines": SimpleLazyObject(_manual_cancel_lines),
    }


def _manual_cancel_lines() -> list[manual_cancel.Line]:
    return manual_cancel.lines(Exchange.objects.enabled().values_list("exchange_id", flat=True))
