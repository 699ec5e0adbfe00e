"""What machines ask: is this process there, would a click work, how much is going on."""

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from killswitch.accounts.models import Role
from killswitch.audit.models import Verification
from killswitch.cancels.states import Status
from killswitch.console.context_processors import ReadinessBar
from killswitch.exchanges.models import Exchange, Observation
from killswitch.holds.models import Hold
from killswitch.readiness import views
from killswitch.readiness.models import Probe
from killswitch.runtime.heartbeats import Heartbeat, Process, beat
from tests import factories
from tests.failures import locked_sqlite
from tests.readiness.conftest import ago, values
from tests.stack import ROOT, Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

ASK = """
import django
django.setup()
from django.test import Client
client = Client()
for path in ("/healthz", "/readyz", "/metrics"):
    response = client.get(path, headers={"host": "127.0.0.1"})
    print(path, response.status_code, response.content[:200])
"""


@contextmanager
def locked_database() -> Iterator[None]:
    """Hold what a write needs."""
    if connection.vendor == "sqlite":
        with locked_sqlite():
            yield
        return
    thread_has_it, release = threading.Event(), threading.Event()

    def hold() -> None:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE readiness_heart IN ACCESS EXCLUSIVE MODE")
            thread_has_it.set()
            release.wait(30)
            cursor.execute("ROLLBACK")
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert thread_has_it.wait(10)
    try:
        yield
    finally:
        release.set()
        thread.join(10)


def test_healthz_asks_no_database(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        response = Client().get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


@pytest.mark.usefixtures("all_is_well")
def test_readyz_says_ready_with_each_check() -> None:
    response = Client().get("/readyz")
    assert response.status_code == 200
    said = response.json()
    assert said["word"] == "READY"
    assert {"name", "label", "ok", "needed", "detail", "age_seconds", "milliseconds"} == set(
        said["checks"][0]
    )
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.usefixtures("all_is_well")
def test_readyz_repeats_no_words_of_the_ems() -> None:
    theirs = "account JOHN, token hunter2"
    Probe.objects.update(ok=False, detail=f"the key was refused: {theirs}")
    Observation.objects.update(error=theirs)
    Verification(
        id=1, at=ago(1), ok=False, head_seq=7, whole_at=ago(1), whole_seq=7, reason=theirs
    ).save()
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["word"]) == (503, "NOT_READY")
    for word in ("JOHN", "hunter2"):
        assert word not in response.content.decode()
    assert "EMS: unreachable, or it rejects our API key" in response.json()["sentence"]
    assert theirs in ReadinessBar().note


@pytest.mark.usefixtures("all_is_well")
def test_degraded_is_still_200_and_not_ready_is_503() -> None:
    Heartbeat.objects.filter(kind=Process.WATCHDOG).update(beat_at=ago(3600))
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["word"]) == (200, "DEGRADED")
    Heartbeat.objects.all().delete()
    views.READINESS.forget()
    from killswitch.readiness.models import Canary

    Canary.objects.all().delete()
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["word"]) == (503, "NOT_READY")


def test_a_hundred_visitors_cause_a_look_or_two() -> None:
    beat(Process.WEB)
    before = Heartbeat.objects.get().beats
    client = Client()
    began = time.monotonic()
    for _ in range(100):
        client.get("/readyz")
    looks = Heartbeat.objects.get().beats - before
    assert looks <= time.monotonic() - began + 1


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
def test_a_locked_database_is_answered_for_within_two_seconds(path: str) -> None:
    beat(Process.WEB)
    with locked_database():
        began = time.monotonic()
        response = Client().get(path)
        assert time.monotonic() - began < 4  # SQLite itself would wait for five
    if path == "/readyz":
        assert response.status_code == 503
        assert "does not respond in time" in response.json()["sentence"]
    else:
        assert values(response.content.decode())["killswitch_readiness", "NOT_READY"] == 1


def test_a_database_that_is_not_there_is_answered_for_without_a_traceback(stack: Stack) -> None:
    stack.set(DATABASE_URL="postgresql://me:hunter2@127.0.0.1:9/x")
    process = subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    statuses = [line.split()[:2] for line in process.stdout.splitlines()]
    assert statuses == [["/healthz", "200"], ["/readyz", "503"], ["/metrics", "200"]]
    assert "hunter2" not in process.stdout + process.stderr
    assert "Traceback" not in process.stderr


def held(number: int, **columns: Any) -> None:
    name = f"SECRET-DESK{number}"
    Hold.objects.create(
        configured_exchange=Exchange.objects.create(exchange_id=name),
        exchange_id=name,
        **{"started_at": ago(60), "last_read_at": ago(1), "origin": "COMMAND_LINE"} | columns,
    )


@pytest.mark.usefixtures("all_is_well")
def test_metrics_of_holds() -> None:
    names = ("holds_active", "holds_blind", "hold_releases_pending", "hold_episodes_total")
    keys = [(f"killswitch_{name}",) for name in (*names, "hold_orders_cancelled_total")]
    oldest = ("killswitch_hold_last_read_seconds",)
    found = values(Client().get("/metrics").content.decode())
    assert [found[key] for key in keys] == [0, 0, 0, 0, 0]
    assert oldest not in found, "no Hold, no list"

    requested = {"release_requested_at": ago(1), "release_requested_by": "x"}
    held(1, episode_count=2, orders_cancelled=15)
    held(2, last_read_at=ago(31), blind_since=ago(30))
    held(3, state="RELEASE_REQUESTED", **requested)
    held(
        4,
        **{"state": "RELEASED", "released_at": ago(1), "last_read_at": ago(3600)} | requested,
        episode_count=3,
        orders_cancelled=4,
    )
    views.METRICS.forget()
    text = Client().get("/metrics").content.decode()
    found = values(text)
    assert [found[key] for key in keys] == [3, 1, 1, 5, 19]
    assert found[oldest] == pytest.approx(31, abs=1.5)
    assert "SECRET" not in text


@pytest.mark.usefixtures("all_is_well")
@pytest.mark.parametrize(
    ("columns", "seconds"),
    [({"last_read_at": None}, 60.0), ({"last_read_at": ago(-3600)}, math.inf)],
)
def test_a_hold_that_was_never_read_or_read_in_the_future_is_not_fresh(
    columns: dict[str, Any], seconds: float
) -> None:
    held(1)
    held(2, **columns)
    found = values(Client().get("/metrics").content.decode())
    assert found["killswitch_hold_last_read_seconds",] == pytest.approx(seconds, abs=1.5)


@pytest.mark.usefixtures("all_is_well")
def test_metrics_tell_what_the_database_holds() -> None:
    Exchange.objects.create(exchange_id="KRAKEN/SECRET-DESK", open_orders=7)
    response = Client().get("/metrics")
    assert response.status_code == 200
    text = response.content.decode()
    found = values(text)
    assert found["killswitch_readiness", "READY"] == 1
    assert found["killswitch_check_ok", "watchdog"] == 1
    assert found["killswitch_requests_total", "BROWSER", "CONFIRMED"] == 0
    assert found["killswitch_open_orders",] == 7
    assert found["killswitch_alarms_open",] == 0
    assert found["killswitch_requests_in_flight",] == 0
    assert found["killswitch_requests_reopened_total",] == 0
    assert "SECRET-DESK" not in text


@pytest.mark.usefixtures("all_is_well")
def test_metrics_count_the_requests_after_which_orders_were_open_again() -> None:
    olga = factories.person(Role.RISK_OFFICER)
    for orders in (0, 3):
        exchange = factories.exchange(f"EXCHANGE{orders}")
        request = factories.press(olga, exchange).requests.get()
        factories.look_again(factories.bring(request, Status.CONFIRMED), after_s=5, orders=orders)
    found = values(Client().get("/metrics").content.decode())
    assert found["killswitch_requests_reopened_total",] == 1
    assert found["killswitch_requests_total", "BROWSER", "CONFIRMED"] == 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_nothing_can_be_posted(path: str) -> None:
    assert Client().post(path).status_code == 405


def test_readyz_is_json_even_when_nothing_ever_ran() -> None:
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert json.loads(response.content)["word"] == "NOT_READY"
