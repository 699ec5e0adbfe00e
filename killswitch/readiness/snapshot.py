"""Everything that the health checks judge, read from the database in a few short queries."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.db import Error, OperationalError, connection
from django.db.models import Max
from django.db.models.functions import Now

from killswitch.alarms.models import Alarm
from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.exchanges.models import Observation
from killswitch.holds.models import Hold
from killswitch.readiness import trial_press
from killswitch.readiness.models import EMS_PROBE, Canary, EmsReach, Probe
from killswitch.readiness.trial_press import Trial
from killswitch.runtime.heartbeats import Heartbeat, Process, beat

# A heartbeat replaces one row and fits into SQLite's existing log file; a request needs new space:
# rows, events and answers of the EMS of up to 1 MiB, for dozens of exchanges.
MIN_FREE_DISK_BYTES = 64 * 2**20


class DiskFull(OperationalError):
    """The next request might not fit on the disk."""


@dataclass(frozen=True, kw_only=True)
class HealthSnapshot:
    """The state of the system, and the database's own time at which it was read."""

    now: datetime
    write_ms: float
    log_is_readable: bool
    beats: dict[str, datetime]
    trial: Trial
    ems_probe: Probe | None
    reaches: Sequence[EmsReach]  # of all processes, also of those that have ended
    canary: Canary | None
    observation: Observation | None
    open_alarms: int
    holds: Sequence[Hold]  # the active ones
    verification: Verification | None


def take(*, beats: bool = True) -> HealthSnapshot:
    """Write, to know that this is possible, then read. Raises `django.db.Error`.

    Without `beats` the last cancel that was tried out is what was written.
    """
    if connection.vendor == "sqlite":
        _check_free_disk(Path(connection.settings_dict["NAME"]).parent)
    started_at = time.monotonic()
    if beats:
        beat(Process.WEB)
    trial = trial_press.PROCESS.get()
    write_ms = (time.monotonic() - started_at) * 1000
    beat_times = Heartbeat.objects.order_by("kind").values_list("kind").annotate(at=Max("beat_at"))
    try:
        chain.head()  # as every append does first, but without its lock
        log_is_readable = True
    except Error:
        log_is_readable = False
    return HealthSnapshot(
        write_ms=write_ms,
        log_is_readable=log_is_readable,
        beats=dict(beat_times),
        trial=trial,
        ems_probe=Probe.objects.filter(name=EMS_PROBE).first(),
        reaches=list(EmsReach.objects.all()),
        canary=Canary.objects.first(),
        observation=Observation.objects.first(),
        open_alarms=Alarm.objects.unacknowledged().count(),
        holds=list(Hold.objects.active().order_by("id")),
        verification=Verification.objects.first(),
        # Read last, so that no time above appears to lie in the future.
        now=_database_time(),
    )


def _database_time() -> datetime:
    row = Heartbeat.objects.annotate(now=Now()).first()
    return row.now if row else datetime.now(UTC)  # nothing has a time that it is compared with


def _check_free_disk(directory: Path) -> None:
    try:
        free_bytes = shutil.disk_usage(directory).free
    except OSError:
        return  # the write that follows shows whether it can be written to
    if free_bytes < MIN_FREE_DISK_BYTES:
        raise DiskFull(
            f"only {free_bytes // 2**20} MiB of disk space left, so a request might not be recorded"
        )
