"""The exposition as Prometheus reads it, and what a scrape costs."""

import re
import subprocess
from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families

from killswitch import __version__
from killswitch.accounts.models import Role
from killswitch.alarms.models import Alarm, AlarmKind, Delivery, FailedDeliveries
from killswitch.cancels.models import Attempt, CancelRequest
from killswitch.cancels.states import FINAL, Status
from killswitch.exchanges.models import Exchange
from killswitch.readiness import counters, metrics, views
from killswitch.readiness.judgement import without_database
from tests import factories
from tests.alarms.conftest import alarm
from tests.holds.hold_factories import every_state
from tests.readiness.conftest import ago, values
from tools.programs import PROMTOOL

__all__ = ["alarm"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

FINAL_STATUSES = sorted(FINAL)
# Tables in which people, hosts or processes have a row, and not what they have done.
SHORT_TABLES = {
    *("exchanges_exchange", "exchanges_uncoveredexchange", "holds_hold"),
    *("alarms_faileddeliveries", "readiness_storedcounts"),
}


def scraped() -> str:
    """Return the exposition as a new scrape does."""
    views.METRICS.forget()
    return Client().get("/metrics").content.decode()


@pytest.fixture
def everything(all_is_well: None, alarm: Callable[..., Alarm]) -> None:
    """Let every kind of thing that the metrics count have happened."""
    every_state()
    officer = factories.person(Role.RISK_OFFICER, username="ola", full_name="Ola Ek")
    for status in Status:
        request = factories.press(officer, factories.exchange(f"SECRET-{status}")).requests.get()
        factories.bring(request, status)
        if status is Status.CONFIRMED:
            factories.look_again(request, after_s=5, orders=3)
    Delivery.objects.create(alarm=alarm("one"), channel="1: json", attempts=1, error="rejected")
    Delivery.objects.create(alarm=alarm("two"), channel="1: json")
    FailedDeliveries.objects.create(id=1, count=4)


@pytest.mark.usefixtures("everything")
def test_everything_is_exposed_by_the_conventions() -> None:
    text = scraped()
    families = list(text_string_to_metric_families(text))
    kinds = {family.name: family.type for family in families}
    names = [name for family in families for name in {sample.name for sample in family.samples}]
    assert len(names) == len(set(names))
    for family in families:
        assert re.fullmatch(r"killswitch_[a-z_]+[a-z]", family.name)
        assert family.documentation
        assert not re.search("milli|minutes|hours|_ms|_us", family.name)
        is_counter = family.type == "counter"
        assert is_counter == any(sample.name.endswith("_total") for sample in family.samples)
    assert kinds["killswitch_requests"] == "counter"
    assert kinds["killswitch_click_to_wire_seconds"] == "histogram"
    assert "SECRET" not in text
    assert "Ola" not in text


@pytest.mark.usefixtures("everything")
def test_promtool_accepts_the_exposition_without_a_word() -> None:
    for text in (scraped(), metrics.exposition(without_database("is gone")).decode()):
        assert promtool("check", "metrics", stdin=text) == ""


def promtool(*arguments: str, stdin: str) -> str:
    """Return what promtool has to say about metrics."""
    executable = PROMTOOL.find()
    assert executable, "no promtool on PATH; `make test` provides it, or says how to get it"
    process = subprocess.run(
        [executable, *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_promtool_has_something_to_say_about_a_bad_name() -> None:
    """Otherwise its silence above would mean nothing."""
    bad = "# HELP killswitch_x_milliseconds x\n# TYPE killswitch_x_milliseconds counter\n"
    with pytest.raises(AssertionError, match="_total"):
        promtool("check", "metrics", stdin=f"{bad}killswitch_x_milliseconds 1\n")


@pytest.mark.usefixtures("everything")
def test_the_values_are_those_of_the_database() -> None:
    found = values(scraped())
    assert found["killswitch_build_info", __version__] == 1
    assert found["killswitch_check_duration_seconds", "ems"] == 0.012
    for status in FINAL_STATUSES:
        assert found["killswitch_requests_total", "BROWSER", status] == 1
        assert found["killswitch_requests_total", "COMMAND_LINE", status] == 0
    assert not any("SENDING" in key for key in found)
    assert found["killswitch_requests_in_flight",] == CancelRequest.objects.in_flight().count()
    assert found["killswitch_requests_in_flight_oldest_age_seconds",] == pytest.approx(12, abs=10)
    assert found["killswitch_requests_reopened_total",] == 1
    rejected = Attempt.objects.filter(outcome="REJECTED", http_status=490).count()
    assert found["killswitch_attempts_total", "4xx", "REJECTED"] == rejected > 0
    assert found["killswitch_attempts_total", "5xx", "ACKNOWLEDGED"] == 0
    alarms = {key[1]: n for key, n in found.items() if key[0] == "killswitch_alarms_raised_total"}
    kinds = list(Alarm.objects.values_list("kind", flat=True))
    assert alarms == {kind: kinds.count(kind) for kind in AlarmKind.values}
    assert alarms["REOPENED"] == 1
    assert found["killswitch_holds_started_total",] >= 3
    assert found["killswitch_notifications_failed_total",] == 4
    assert found["killswitch_notifications_delivered_total",] == 0
    assert found["killswitch_notifications_pending",] == 2
    assert found["killswitch_notifications_failing",] == 1
    for name, count in (("wire", 7), ("answer", 6), ("confirmed", 1)):
        key = f"killswitch_click_to_{name}_seconds"
        assert found[f"{key}_bucket", "+Inf"] == found[f"{key}_count",] >= count
        assert found[f"{key}_bucket", "5.0"] == 0
        assert found[f"{key}_sum",] > 5 * count


@pytest.mark.usefixtures("all_is_well")
@pytest.mark.parametrize(
    ("age_s", "expected"), [(601, 601), (-3600, float("inf"))], ids=["old", "in the future"]
)
def test_the_oldest_alarm_that_nobody_has_acknowledged(
    age_s: float, expected: float, alarm: Callable[..., Alarm]
) -> None:
    name = ("killswitch_alarms_open_oldest_age_seconds",)
    assert values(scraped())[name] == 0
    alarm("older")
    alarm("newer")
    Alarm.objects.filter(subject="older").update(raised_at=ago(age_s))
    if age_s < 0:
        Alarm.objects.filter(subject="newer").update(raised_at=ago(age_s))
    assert values(scraped())[name] == pytest.approx(expected, abs=10)


def test_without_the_database_only_the_version_and_the_readiness_are_known() -> None:
    names = {key[0] for key in values(metrics.exposition(without_database("is gone")).decode())}
    assert names == {"killswitch_build_info", "killswitch_readiness", "killswitch_check_ok"}


# --- what a scrape costs --------------------------------------------------------------------


def queries() -> list[str]:
    """Return the queries of the metrics, without those of the readiness."""
    with CaptureQueriesContext(connection) as captured:
        list(metrics._of_database())
    return [query["sql"] for query in captured]


def press_on(count: int) -> None:
    officer = factories.person(Role.RISK_OFFICER, username=f"officer{count}")
    first = Exchange.objects.count()
    exchanges = [factories.exchange(f"VENUE{first + n}") for n in range(count)]
    for request in factories.press(officer, *exchanges).requests.all():
        factories.bring(request, Status.RESIDUAL)


def test_a_scrape_costs_the_same_queries_however_much_has_happened() -> None:
    press_on(2)
    few = len(queries())
    press_on(12)
    assert len(queries()) == few <= 15
    counters.store()
    assert len(queries()) == few - 2, "without new events, their requests are not looked up"


def test_a_scrape_reads_the_events_that_are_new_and_no_others() -> None:
    press_on(8)
    counters.store()
    press_on(1)
    [events] = [sql for sql in queries() if "alarm_kind" in sql and "LIMIT" in sql]
    with connection.cursor() as cursor:
        cursor.execute(events)
        assert len(cursor.fetchall()) == 5, "requested, two attempts, finished, an alarm"


def test_a_scrape_scans_no_long_table() -> None:
    press_on(3)
    counters.store()
    press_on(1)
    scanned = {table for sql in queries() for table in scans(sql)}
    assert scanned <= SHORT_TABLES


def scans(sql: str) -> Iterator[str]:
    """Return the tables that a query reads from beginning to end.

    To read a partial index is none: it has only the rows that are being asked for.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            steps = [row[3] for row in cursor.fetchall()]
            partial = re.compile("INDEX (requests_reopened|alarms_unacknowledged|tellings_pending)")
            found = [re.match(r"SCAN (\w+)", step) for step in steps if not partial.search(step)]
        else:
            cursor.execute("SET enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
            steps = [row[0] for row in cursor.fetchall()]
            cursor.execute("SET enable_seqscan = on")
            found = [re.search(r"Seq Scan on (\w+)", step) for step in steps]
    yield from (match[1] for match in found if match)


def test_a_query_that_scans_is_noticed() -> None:
    """Otherwise the test above would prove nothing."""
    table = "cancels_cancelrequest"
    assert list(scans(f"SELECT count(message) FROM {table}")) == [table]


def test_counting_for_a_scrape_writes_nothing() -> None:
    press_on(1)
    assert {sql.split(" ")[0] for sql in queries()} == {"SELECT"}
