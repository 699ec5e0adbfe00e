"""Signs of life as the tests want them, and the broker that the settings are pointed at."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from killswitch.audit.canonical_json import utc_text
from killswitch.break_glass import rehearsal
from killswitch.exchanges.models import Exchange, Observation
from killswitch.readiness import trial_press, views
from killswitch.readiness.models import Canary, EmsReach, Probe
from killswitch.runtime.heartbeats import Process, beat
from tests.conftest import RedisProcess


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    views.READINESS.forget()
    views.METRICS.forget()
    trial_press.PROCESS.forget()


@pytest.fixture
def broker(own_redis: RedisProcess, settings: Any) -> RedisProcess:
    """A broker for this test alone."""
    settings.CELERY_BROKER_URL = f"redis+socket://{own_redis.path}"
    return own_redis


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def values(text: str) -> dict[tuple[str, ...], float]:
    """Return the samples of an exposition, by name and the values of their labels by name."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def rehearsed(home: Path, *, succeeded_at: datetime | None, failures: Sequence[str] = ()) -> None:
    """Leave the result of a rehearsal of break glass on this host."""
    content = {
        "at": utc_text(ago(0)),
        "succeeded_at": utc_text(succeeded_at) if succeeded_at else None,
        "failures": list(failures),
    }
    (home / rehearsal.FILE).write_text(json.dumps(content))


def reached_ems(
    kind: Process,
    *,
    problem: str = "",
    warning: str = "",
    fingerprint: str = "0123456789abcdef",
    pid: int = 1,
    at: datetime | None = None,
) -> None:
    """Let a process of this kind have tested its way to the EMS."""
    EmsReach.objects.update_or_create(
        kind=kind,
        host="alpha",
        pid=pid,
        defaults={
            "problem": problem,
            "warning": warning,
            "milliseconds": 3.0,
            "fingerprint": fingerprint,
            "at": at or ago(0),
        },
    )


@pytest.fixture
def all_is_well(transactional_db: None, tmp_path: Path, settings: Any) -> None:
    """Everything that a click depends on has just shown signs of life."""
    settings.KILLSWITCH_HOME = tmp_path
    rehearsed(tmp_path, succeeded_at=ago(0))
    for kind in (Process.WORKER, Process.WATCHDOG, Process.OBSERVER):
        beat(kind)
    Exchange.objects.get_or_create(exchange_id="KRAKEN")
    Probe.objects.create(name="ems", ok=True, milliseconds=12.0, at=ago(0))
    for kind in (Process.WORKER, Process.WATCHDOG, Process.OBSERVER):
        reached_ems(kind)
    Canary.objects.create(
        id=1, nonce="n", sent_at=ago(0.1), published=9, answered=9, answered_at=ago(0)
    )
    Observation.objects.update_or_create(id=1, defaults={"seen_at": ago(0), "error": ""})
