"""Everything that the checks judge, read from the database in a few short queries."""

import shutil
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import Error, OperationalError, connection
from django.db.models import Max
from django.db.models.functions import Now

from killswitch.alarms.models import Alarm
from killswitch.audit import chain
from killswitch.audit.models import Verification
from killswitch.audit.verification import last_result
from killswitch.exchanges.models import Observation
from killswitch.readiness.models import Canary, Probe
from killswitch.runtime.heartbeats import HOST, Heartbeat, Process, beat

# A beat replaces one row and finds room in a log file of SQLite's that is there already; a press
# needs new room: rows, events and answers of the EMS of up to 1 MiB, for dozens of exchanges.
MIN_FREE_DISK_BYTES = 64 * 2**20  # bytes


class DiskFull(OperationalError):
    """The next press might find no room."""


@dataclass(frozen=True, kw_only=True)
class HealthSnapshot:
    """What was found, and the database's own time at which it was."""

    now: datetime
    write_ms: float
    log_is_readable: bool
    beats: dict[str, datetime]
    probes: dict[str, Probe]
    canary: Canary | None
    observation: Observation | None
    open_alarms: int
    verification: Verification | None


def take() -> HealthSnapshot:
    """Writes once, to know that this can be done, then reads. Raises `django.db.Error`."""
    _check_room()
    began = time.monotonic()
    beat(Process.WEB)
    write_ms = (time.monotonic() - began) * 1000
    newest = Heartbeat.objects.order_by("kind").values_list("kind").annotate(at=Max("beat_at"))
    return HealthSnapshot(
        write_ms=write_ms,
        log_is_readable=_log_is_readable(),
        beats=dict(newest),
        probes={probe.name: probe for probe in Probe.objects.all()},
        canary=Canary.objects.first(),
        observation=Observation.objects.first(),
        open_alarms=Alarm.objects.unacknowledged().count(),
        verification=last_result.get(),
        # Read last: no time above may look as if it lay in the future.
        now=Heartbeat.objects.annotate(now=Now()).get(kind=Process.WEB, host=HOST).now,
    )


def _check_room() -> None:
    if connection.vendor != "sqlite":
        return  # its disk is another machine's
    try:
        free = shutil.disk_usage(Path(connection.settings_dict["NAME"]).parent).free
    except OSError:
        return  # whether it can be written to, writing tells
    if free < MIN_FREE_DISK_BYTES:
        raise DiskFull(
            f"only {free // 2**20} MiB are free on its disk, so that a press may not be recorded"
        )


def _log_is_readable() -> bool:
    """Whoever appends reads the head first. Without the lock of those who do append."""
    try:
        chain.head()
    except Error:
        return False
    return True
