"""Many writers at once: no gap, no fork, and numbers in the order of the chain."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, transaction

from killswitch.audit.chain import GENESIS, NewEvent
from killswitch.audit.models import AuditEvent, EventKind, ThrottledEvent
from killswitch.audit.recorder import recording
from killswitch.audit.verification.verify import verify
from killswitch.runtime.kept_connections import release_connection, waiting_for_a_connection
from tests.stack import database_url

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
ROOT = Path(settings.BASE_DIR)
WRITER = """
import sys, django
django.setup()
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
name, count = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
for number in range(count):
    with recording() as record:
        record.event(EventKind.SIGNED_IN, data={"writer": name, "number": number})
"""


def _append_all(name: str, *, count: int, ready: threading.Barrier, errors: list[str]) -> None:
    """Append as one writer; every third transaction also changes a row, every fifth rolls back.

    The threads share the few connections that a process may open.
    """
    try:
        ready.wait(30)
        with waiting_for_a_connection(100):
            for number in range(count):
                _append_one(name, number)
                release_connection()
    except Exception as error:  # noqa: BLE001 - shown by the test
        errors.append(f"{name}: {error!r}")
    finally:
        connection.close()


def _append_one(name: str, number: int) -> None:
    event = NewEvent(kind=EventKind.SIGNED_IN, data={"writer": name, "number": number})
    if number % 5 == 0:
        with transaction.atomic():
            with recording() as record:
                record.add(event)
            transaction.set_rollback(True)
    with recording() as record:
        record.add(event)
        if number % 3 == 0:
            ThrottledEvent.objects.update_or_create(
                kind="writer", subject=name, defaults={"since": datetime.now(UTC), "count": number}
            )


def _run_threads(threads: int, *, count: int) -> None:
    ready, errors = threading.Barrier(threads), list[str]()
    writers = [
        threading.Thread(
            target=_append_all,
            args=[f"thread {number}"],
            kwargs={"count": count, "ready": ready, "errors": errors},
        )
        for number in range(threads)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(100)
    assert errors == []
    assert not any(writer.is_alive() for writer in writers)


def _run_processes(processes: int, *, count: int) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "killswitch.settings",
        "DATABASE_URL": database_url(),
        "EMS_BASE_URL": "http://127.0.0.1:9",
        "LOG_LEVEL": "warning",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"process {number}", str(count)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    # All of them start at the same time, when they have read a line.
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        _, stderr = process.communicate(timeout=110)
        assert process.returncode == 0, stderr


def assert_one_chain(*, writers: int, count: int) -> None:
    """Check the chain without the verifier, which must agree."""
    events = list(AuditEvent.objects.order_by("seq").values_list("seq", "previous", "hash", "data"))
    assert [seq for seq, *_ in events] == list(range(1, writers * count + 1))
    assert [previous for _, previous, _, _ in events] == [
        GENESIS,
        *(hash_ for _, _, hash_, _ in events[:-1]),
    ]
    orders: dict[str, list[int]] = defaultdict(list)
    for *_, data in events:
        facts = json.loads(data)
        orders[facts["writer"]].append(facts["number"])
    # No event is lost or doubled, and those of one writer are in their order.
    assert Counter(map(len, orders.values())) == Counter({count: writers})
    assert all(order == list(range(count)) for order in orders.values())
    verdict = verify()
    assert verdict.ok, verdict
    assert verdict.events == writers * count
    assert not any("set back" in warning for warning in verdict.warnings)


@pytest.fixture(autouse=True)
def _home(settings: object, tmp_path: Path) -> None:
    settings.KILLSWITCH_HOME = tmp_path  # type: ignore[attr-defined]


def test_threads_append_to_one_chain() -> None:
    _run_threads(8, count=40)
    assert_one_chain(writers=8, count=40)


def test_processes_append_to_one_chain() -> None:
    _run_processes(3, count=60)
    assert_one_chain(writers=3, count=60)


@pytest.mark.faults
def test_32_threads_append_10_000_events() -> None:
    _run_threads(32, count=320)
    assert_one_chain(writers=32, count=320)


@pytest.mark.faults
def test_8_processes_append_10_000_events() -> None:
    _run_processes(8, count=1250)
    assert_one_chain(writers=8, count=1250)
