"""The system's state as Prometheus metrics, read from the database on request.

Numbers kept in a process would be wrong: there are several web processes, and requests are carried
out in others. No metric names an exchange, a user or an address. docs/operating.md explains each.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Final

from django.conf import settings
from django.db import Error
from django.db.models import Count, Min, Q, Sum
from django.db.models.functions import Now
from prometheus_client import Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from killswitch.alarms.models import Alarm, AlarmKind, Delivery, FailedDeliveries
from killswitch.cancels.models import FINAL_VALUES, CancelRequest, Origin
from killswitch.ems.answers import Outcome
from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.holds.models import Hold, HoldState
from killswitch.readiness import counters
from killswitch.readiness.counters import Counts
from killswitch.readiness.health_checks import evaluate
from killswitch.readiness.judgement import Level, Readiness
from killswitch.runtime.age import age

Values = dict[str, tuple[str, float]]  # help and value by name

HTTP_CLASSES: Final = ("none", "2xx", "3xx", "4xx", "5xx")
DURATIONS: Final = {
    "click_to_wire": "From the click to the beginning of the first call that reached the EMS",
    "click_to_answer": "From the click to the end of the first answer of the EMS",
    "click_to_confirmed": "From the click to CONFIRMED, for requests that ended so",
}


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
                yield from _of_database()
            except Error:
                return  # the connection was lost meanwhile


def _of_readiness(readiness: Readiness) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "killswitch_build", "Version of the product", value={"version": settings.VERSION}
    )
    word = GaugeMetricFamily("killswitch_readiness", "1 for the current readiness", labels=["word"])
    for level in Level:
        word.add_metric([level.value], float(readiness.word is level))
    ok = GaugeMetricFamily("killswitch_check_ok", "1 if the check passes", labels=["check"])
    age = GaugeMetricFamily("killswitch_check_age_seconds", "Age of the result", labels=["check"])
    duration = GaugeMetricFamily(
        "killswitch_check_duration_seconds", "Duration of the check", labels=["check"]
    )
    for check in readiness.checks:
        ok.add_metric([check.name], float(check.ok))
        if check.age_seconds is not None:
            age.add_metric([check.name], check.age_seconds)
        if check.milliseconds is not None:
            duration.add_metric([check.name], check.milliseconds / 1000)
    yield from (word, ok, age, duration)


def _of_database() -> Iterator[Metric]:
    if log_counts := counters.current():
        yield from _of_log(log_counts)
    counts, gauges = _of_holds()
    failures = FailedDeliveries.objects.values_list("count", flat=True).first()
    counts |= {
        "notifications_failed": ("Attempts to notify a channel that failed", failures or 0),
        "requests_reopened": (
            "CONFIRMED requests after which the EMS listed open orders again",
            CancelRequest.objects.filter(reopened_at__isnull=False).count(),
        ),
    }
    for name, (text, value) in counts.items():
        yield CounterMetricFamily(f"killswitch_{name}", text, value=value)
    for name, (text, value) in (_of_rows() | gauges).items():
        yield GaugeMetricFamily(f"killswitch_{name}", text, value=value)


def _of_log(counts: Counts) -> Iterator[Metric]:
    yield _counter(
        counts,
        "requests",
        "Requests that have ended, by final status and by where they came from",
        labels={"status": FINAL_VALUES, "origin": Origin.values},
    )
    yield _counter(
        counts,
        "attempts",
        "Calls of the EMS's cancel-all, by what each achieved and the class of its HTTP status",
        labels={"outcome": list(Outcome), "http": HTTP_CLASSES},
    )
    yield _counter(counts, "alarms_raised", "Alarms raised", labels={"kind": AlarmKind.values})
    yield _counter(counts, "holds_started", "Holds started")
    yield _counter(counts, "notifications_delivered", "Notifications that a channel accepted")
    yield CounterMetricFamily("killswitch_audit_events", "Events in the log", value=counts.seq)
    for name, text in DURATIONS.items():
        yield HistogramMetricFamily(
            f"killswitch_{name}_seconds",
            text,
            buckets=counts.buckets(name),
            sum_value=counts.sum_s(name),
        )


def _counter(
    counts: Counts, name: str, text: str, *, labels: Mapping[str, Sequence[str]] | None = None
) -> CounterMetricFamily:
    """Return a counter with all combinations of its labels.

    What has not happened yet is 0: otherwise its first time would not be an increase.
    """
    values = labels or {}
    metric = CounterMetricFamily(f"killswitch_{name}", text, labels=list(values))
    numbers = dict.fromkeys(product(*values.values()), 0) | counts.by_labels(name)
    for combination, number in numbers.items():
        metric.add_metric(combination, number)
    return metric


def _of_rows() -> Values:
    in_flight = CancelRequest.objects.in_flight().order_by()
    requests = in_flight.aggregate(count=Count("id"), oldest=Min("batch__asked_at"))
    alarms = Alarm.objects.unacknowledged().order_by()
    unacknowledged = alarms.aggregate(count=Count("id"), oldest=Min("raised_at"))
    pending = Delivery.objects.filter(delivered_at=None).order_by()
    notifications = pending.aggregate(count=Count("id"), failing=Count("id", filter=~Q(error="")))
    open_orders = Exchange.objects.aggregate(total=Sum("open_orders"))["total"]
    return {
        "requests_in_flight": ("Unfinished requests", requests["count"]),
        "requests_in_flight_oldest_age_seconds": (
            "Time since the click of the oldest unfinished request; 0 if there is none",
            _age_or_zero(requests["oldest"]),
        ),
        "alarms_open": ("Unacknowledged alarms", unacknowledged["count"]),
        "alarms_open_oldest_age_seconds": (
            "Age of the oldest unacknowledged alarm; 0 if there is none",
            _age_or_zero(unacknowledged["oldest"]),
        ),
        "notifications_pending": (
            "Notifications that are not delivered yet",
            notifications["count"],
        ),
        "notifications_failing": (
            "Pending notifications whose last attempt failed",
            notifications["failing"],
        ),
        "open_orders": ("Open orders in the EMS's last list", open_orders or 0),
        "uncovered_exchanges": (
            "Exchange IDs with open orders that are not enabled here",
            UncoveredExchange.objects.count(),
        ),
    }


def _age_or_zero(at: datetime | None) -> float:
    """Return seconds; infinity for a time in the future, which exceeds every limit of an alert."""
    if at is None:
        return 0.0
    seconds = age(at=at, now=datetime.now(UTC)).seconds
    return math.inf if seconds is None else seconds


def _of_holds() -> tuple[Values, Values]:
    """Return counters and gauges. There are few Holds: a person starts each of them."""
    active = list(Hold.objects.active().annotate(now=Now()))
    sums = Hold.objects.aggregate(episodes=Sum("episode_count"), orders=Sum("orders_cancelled"))
    counts: Values = {
        "hold_episodes": ("Episodes of all Holds", sums["episodes"] or 0),
        "hold_orders_cancelled": (
            "Orders under all Holds that were no longer listed after a cancel",
            sums["orders"] or 0,
        ),
    }
    gauges: Values = {
        "holds_active": ("Held exchanges", len(active)),
        "holds_blind": (
            "Held exchanges whose open orders cannot be read",
            sum(hold.blind_since is not None for hold in active),
        ),
        "hold_releases_pending": (
            "Requests to release a Hold that wait to be confirmed",
            sum(hold.state == HoldState.RELEASE_REQUESTED for hold in active),
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
    return counts, gauges
