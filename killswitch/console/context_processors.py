"""What every page needs: where we are, who looks, and what is wrong. Read only when it is shown."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from killswitch.accounts.decorators import Permission, has_permission
from killswitch.alarms.models import Alarm
from killswitch.console.readiness_bar import readiness_bar
from killswitch.exchanges.models import Observation
from killswitch.runtime.revisions import current

FOLDED = 4  # alarms behind the newest; more come up as these are acknowledged

# How the header names the place.
ENVIRONMENTS = {
    "demo": {"css": "demo", "word": "DEMO", "title": "A simulated EMS: nothing here is real."},
    "uat": {"css": "uat", "word": "UAT", "title": "User acceptance test."},
    "production": {"css": "production", "word": "PRODUCTION", "title": "Real orders, real money."},
    # Somebody pointed a real EMS at this console and did not say which environment it is.
    "real": {
        "css": "production",
        "word": "REAL EMS",
        "title": "Real orders; KILLSWITCH_ENVIRONMENT does not say of which environment.",
    },
}


def _environment() -> dict[str, str]:
    """Whatever the place is called, a simulated EMS is not passed over in silence."""
    named, demo = ENVIRONMENTS[settings.KILLSWITCH_ENVIRONMENT], ENVIRONMENTS["demo"]
    if settings.DEMO and named is not demo:
        return {**demo, "word": f"{named['word']} · SIMULATED EMS"}
    return named


class AlarmSummary:
    """The newest unacknowledged alarm, those folded behind it, and how many there are.

    One is shown in full: a wall of them would be clicked away unread, and push the kill down.
    """

    def __init__(self) -> None:
        waiting = Alarm.objects.unacknowledged()
        newest = list(waiting.order_by("-id")[: 1 + FOLDED])
        self.shown = newest[0] if newest else None
        self.folded = newest[1:]
        self.count = waiting.count() if len(newest) > FOLDED else len(newest)
        self.more = self.count - 1
        self.unseen = self.more - len(self.folded)


def page(request: HttpRequest) -> dict[str, Any]:
    """The context processor. Each part is lazy, so that an error page needs no database."""
    return {
        "environment": _environment(),
        # Shown before anything else of the page; a page with live rows reads its own, before them.
        "known": SimpleLazyObject(current),
        "alarms": SimpleLazyObject(AlarmSummary),
        "newest_look": SimpleLazyObject(last_observed_at),
        "strip": SimpleLazyObject(readiness_bar),
        "may_cancel": SimpleLazyObject(_may(request, Permission.CANCEL)),
        "may_acknowledge": SimpleLazyObject(_may(request, Permission.ACKNOWLEDGE)),
        "may_audit": SimpleLazyObject(_may(request, Permission.AUDIT)),
        "stale_after": max(10, round(settings.OBSERVE_INTERVAL * 4)),
    }


def last_observed_at() -> datetime | None:
    """When the EMS was last heard of its open orders."""
    return Observation.objects.filter(id=1).values_list("seen_at", flat=True).first()


def _may(request: HttpRequest, permission: Permission) -> Callable[[], bool]:
    return lambda: has_permission(request.user, permission)
