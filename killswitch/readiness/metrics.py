"""The system's state as Prometheus metrics, read from the database on request.

Counters kept in a process would be wrong: there are several web processes, and requests are carried
out in others. No metric names an exchange, a user or an address.
"""

import math
from collections.abc import Iterator

from django.db import Error
from django.db.models import Count, Sum
from django.db.models.functions import Now
from prometheus_client import Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit import chain
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.holds.models import Hold, HoldState
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.judgement import Level, Readiness
from killswitch.runtime.age import age


def exposition(readiness: Readiness | None = None) -> bytes:
    """Return all metrics as text; only this readiness if one is given, without a query."""
    return generate_latest(_SystemState(readiness=readiness))


class _SystemState(Collector):
    def __init__(self, *, readiness: Readiness | None) -> None:
        self._readiness = readiness

    def collect(self) -> Iterator[Metric]:
        readiness = self._readiness or evaluate()
        yield from _of_readiness(readiness)
        has_database = any(check.name == "database" and check.ok for check in readiness.checks)
        if self._readiness is None and has_database:
            try:
                yield from _counts()
            except Error:
                return  # the connection was lost meanwhile


def _of_readiness(readiness: Readiness) -> Iterator[Metric]:
    word = GaugeMetricFamily("killswitch_readiness", "1 for the current readiness", labels=["word"])
    for level in Level:
        word.add_metric([level.value], float(readiness.word is level))
    ok = GaugeMetricFamily("killswitch_check_ok", "1 if the check passes", labels=["check"])
    age = GaugeMetricFamily("killswitch_check_age_seconds", "Age of the result", labels=["check"])
    duration = GaugeMetricFamily(
        "killswitch_check_milliseconds",
        "Duration of the check in milliseconds",
        labels=["check"],
    )
    for check in readiness.checks:
        ok.add_metric([check.name], float(check.ok))
        if check.age_seconds is not None:
            age.add_metric([check.name], check.age_seconds)
        if check.milliseconds is not None:
            duration.add_metric([check.name], check.milliseconds)
    yield from (word, ok, age, duration)


def _counts() -> Iterator[Metric]:
    by_status = dict(CancelRequest.objects.order_by().values_list("status").annotate(Count("id")))
    requests = GaugeMetricFamily("killswitch_requests", "Requests by status", labels=["status"])
    for status in Status:
        requests.add_metric([status.value], by_status.get(status.value, 0))
    yield requests
    open_orders = Exchange.objects.aggregate(total=Sum("open_orders"))["total"]
    gauges: dict[str, tuple[str, float]] = {
        "requests_in_flight": ("Unfinished requests", CancelRequest.objects.in_flight().count()),
        "requests_reopened": (
            "Requests after whose confirmation orders were open again (CONFIRMED in requests)",
            CancelRequest.objects.exclude(reopened_at=None).count(),
        ),
        "alarms_open": ("Unacknowledged alarms", Alarm.objects.unacknowledged().count()),
        "notifications_pending": (
            "Notifications that are not delivered yet",
            Delivery.objects.filter(delivered_at=None).count(),
        ),
        "open_orders": ("Open orders in the EMS's last list", open_orders or 0),
        "uncovered_exchanges": (
            "Exchange IDs with open orders that are not enabled here",
            UncoveredExchange.objects.count(),
        ),
        "audit_events": ("Number of the newest audit event", chain.head().seq),
    }
    for name, (text, value) in (gauges | _of_holds()).items():
        yield GaugeMetricFamily(f"killswitch_{name}", text, value=value)


def _of_holds() -> dict[str, tuple[str, float]]:
    active = list(Hold.objects.active().annotate(now=Now()))
    sums = Hold.objects.aggregate(episodes=Sum("episode_count"), orders=Sum("orders_cancelled"))
    gauges: dict[str, tuple[str, float]] = {
        "holds_active": ("Held exchanges", len(active)),
        "holds_blind": (
            "Held exchanges whose open orders cannot be read",
            sum(hold.blind_since is not None for hold in active),
        ),
        "hold_releases_pending": (
            "Requests to release a Hold that wait to be confirmed",
            sum(hold.state == HoldState.RELEASE_REQUESTED for hold in active),
        ),
        "hold_episodes": ("Episodes of all Holds", sums["episodes"] or 0),
        "hold_orders_cancelled": (
            "Orders under all Holds that were no longer listed after a cancel",
            sums["orders"] or 0,
        ),
    }
    # A time in the future proves no freshness, and infinity exceeds every limit of an alert.
    ages = (
        age(at=hold.last_read_at or hold.started_at, now=vars(hold)["now"]).seconds
        for hold in active
    )
    oldest = max((math.inf if seconds is None else seconds for seconds in ages), default=None)
    if oldest is not None:
        text = "Age of the oldest list of a held exchange; of its Hold if no list was read yet"
        gauges["hold_last_read_seconds"] = (text, oldest)
    return gauges
