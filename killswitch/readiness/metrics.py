"""The system's state as Prometheus metrics, read from the database when they are asked for.

Counters kept in a process would be wrong: there are several web processes, and the kills are
carried out in others. Nothing here names an exchange, a person or an address.
"""

from collections.abc import Iterator

from django.db import Error
from django.db.models import Count, Sum
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from killswitch.alarms.models import Alarm, Delivery
from killswitch.audit import chain
from killswitch.cancels.models import CancelRequest
from killswitch.cancels.states import Status
from killswitch.exchanges.models import Exchange, UncoveredExchange
from killswitch.readiness.health_checks import Level, Readiness, evaluate


def exposition() -> bytes:
    """All metrics as text. With the database gone: what is still known."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts())
    return generate_latest(registry)


def without_database(readiness: Readiness) -> bytes:
    """Only that the system is not ready."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Facts(readiness=readiness))
    return generate_latest(registry)


class _Facts(Collector):
    def __init__(self, *, readiness: Readiness | None = None) -> None:
        self._readiness = readiness

    def describe(self) -> list[Metric]:
        return []  # registering must not read the database

    def collect(self) -> Iterator[Metric]:
        readiness = self._readiness or evaluate()
        yield from _of_readiness(readiness)
        if self._readiness is None and any(c.name == "database" and c.ok for c in readiness.checks):
            try:
                yield from _counts()
            except Error:
                return  # it went away since


def _of_readiness(readiness: Readiness) -> Iterator[Metric]:
    word = GaugeMetricFamily("killswitch_readiness", "1 for the word that holds", labels=["word"])
    for one in Level:
        word.add_metric([one.value], float(readiness.word is one))
    ok = GaugeMetricFamily("killswitch_check_ok", "1 where a check is passed", labels=["check"])
    age = GaugeMetricFamily("killswitch_check_age_seconds", "Age of a finding", labels=["check"])
    took = GaugeMetricFamily("killswitch_check_milliseconds", "Time it took", labels=["check"])
    for check in readiness.checks:
        ok.add_metric([check.name], float(check.ok))
        if check.age_seconds is not None:
            age.add_metric([check.name], check.age_seconds)
        if check.milliseconds is not None:
            took.add_metric([check.name], check.milliseconds)
    yield from (word, ok, age, took)


def _counts() -> Iterator[Metric]:
    found = dict(CancelRequest.objects.order_by().values_list("status").annotate(Count("id")))
    requests = GaugeMetricFamily("killswitch_requests", "Requests by status", labels=["status"])
    for status in Status:
        requests.add_metric([status.value], found.get(status.value, 0))
    yield requests
    in_flight = CancelRequest.objects.in_flight()
    untold = Delivery.objects.filter(delivered_at=None)
    listed = Exchange.objects.aggregate(total=Sum("open_orders"))["total"]
    numbers = {
        "requests_in_flight": ("Requests that are not finished", in_flight.count()),
        "alarms_open": ("Alarms nobody has acknowledged", Alarm.objects.unacknowledged().count()),
        "tellings_pending": ("Places not told of an alarm yet", untold.count()),
        "open_orders": ("Open orders the EMS last listed", listed or 0),
        "uncovered_exchanges": (
            "Ids with open orders, not enabled",
            UncoveredExchange.objects.count(),
        ),
        "audit_events": ("Number of the newest event", chain.head().seq),
    }
    for name, (text, value) in numbers.items():
        yield GaugeMetricFamily(f"killswitch_{name}", text, value=value)
