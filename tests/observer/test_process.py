"""The observer as a process: figures, canaries, one at a time, and a quick end."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from psycopg.sql import SQL, Identifier

from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.exchanges.models import Exchange, Observation
from killswitch.readiness.models import Canary, Probe, StoredCounts
from killswitch.runtime.heartbeats import Process, age_here
from tests.conftest import RedisProcess, wait_for
from tests.failures import locked_sqlite
from tests.stack import Stack

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _quick(stack: Stack) -> None:
    stack.set(OBSERVE_INTERVAL=0.3, EMS_TIMEOUT=10)


def observed(exchange_id: str) -> int | None:
    return Exchange.objects.get(exchange_id=exchange_id).open_orders


def end_within(process: "subprocess.Popen[bytes]", *, seconds: float) -> None:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - began < seconds


def test_figures_and_canaries_come_and_the_process_ends_within_a_second(
    stack: Stack, own_redis: RedisProcess
) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    with recording() as record:
        record.event(EventKind.STARTED)  # what the counters of the metrics begin with
    stack.simulator.place("KRAKEN", 4)
    process = stack.manage("observe")
    wait_for(lambda: observed("KRAKEN") == 4, seconds=30)
    wait_for(lambda: Canary.objects.filter(published__gt=0).exists(), seconds=10)
    wait_for(lambda: Probe.objects.filter(name="ems", ok=True).exists(), seconds=5)
    assert age_here(Process.OBSERVER).within(3)
    wait_for(StoredCounts.objects.exists, seconds=5)
    stack.simulator.place("KRAKEN", 1)
    wait_for(lambda: observed("KRAKEN") == 5, seconds=5)
    end_within(process, seconds=5)
    assert Observation.objects.get().lease_token == ""


def test_sessions_that_have_ended_are_deleted_and_others_stay(stack: Stack) -> None:
    now = datetime.now(UTC)
    for key, expires_at in (("a" * 32, now - timedelta(1)), ("b" * 32, now + timedelta(1))):
        Session.objects.create(session_key=key, session_data="", expire_date=expires_at)
    stack.manage("observe")
    wait_for(lambda: Session.objects.count() == 1, seconds=30)
    assert Session.objects.get().session_key == "b" * 32


def test_it_ends_within_a_second_while_the_ems_is_silent(stack: Stack) -> None:
    stack.simulator.script("*", list=[{"fault": "silent", "repeat": True}])
    process = stack.manage("observe")
    wait_for(lambda: bool(stack.simulator.calls(method="GET")), seconds=30)
    end_within(process, seconds=5)


def test_a_wrong_key_is_noted(stack: Stack) -> None:
    stack.simulator.script("*", list=[{"fault": "unauthorised", "repeat": True}])
    stack.manage("observe")
    wait_for(lambda: Probe.objects.filter(name="ems", ok=False).exists(), seconds=30)
    assert "the API key was rejected" in Probe.objects.get(name="ems").detail
    assert "401" in Observation.objects.get().error


def test_a_second_observer_waits_and_takes_over_from_a_killed_one(stack: Stack) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    first = stack.manage("observe")
    wait_for(lambda: observed("KRAKEN") == 0, seconds=30)
    holder = Observation.objects.get().lease_token
    stack.manage("observe")
    wait_for(lambda: stack.log.exists() and age_here(Process.OBSERVER).within(2), seconds=30)
    first.kill()
    first.wait()
    killed_at = time.monotonic()
    wait_for(lambda: Observation.objects.get().lease_token != holder, seconds=60)
    assert time.monotonic() - killed_at < 60
    stack.simulator.place("KRAKEN", 2)
    wait_for(lambda: observed("KRAKEN") == 2, seconds=5)


@contextmanager
def database_gone() -> Iterator[None]:
    """Keep all other processes out of the database."""
    if connection.vendor == "sqlite":
        with locked_sqlite():
            yield
        return
    name, ours = str(connection.settings_dict["NAME"]), connection.connection.info.backend_pid
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as elsewhere:
        elsewhere.execute(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(name)))
        elsewhere.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> %s",
            [name, ours],
        )
        try:
            yield
        finally:
            allow = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true")
            elsewhere.execute(allow.format(Identifier(name)))


def test_an_ems_that_no_client_can_be_made_for_is_said_in_one_sentence(stack: Stack) -> None:
    stack.set(EMS_BASE_URL="http://")
    assert stack.manage("observe").wait(30) == 2
    assert "the EMS client cannot be created: EMS_BASE_URL must be" in stack.log.read_text()
    assert "Traceback" not in stack.log.read_text()


@pytest.mark.faults
def test_a_database_that_was_gone_for_a_while_is_written_to_again(stack: Stack) -> None:
    Exchange.objects.create(exchange_id="KRAKEN")
    process = stack.manage("observe")
    wait_for(lambda: observed("KRAKEN") == 0, seconds=30)
    with database_gone():
        wait_for(lambda: "database_gone" in stack.log.read_text(), seconds=20)
        stack.simulator.place("KRAKEN", 3)
    wait_for(lambda: observed("KRAKEN") == 3, seconds=20)
    assert process.poll() is None
    assert "Traceback" not in stack.log.read_text()
