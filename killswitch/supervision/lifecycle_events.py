"""Puts into the audit log when the system was started and stopped, and with which settings."""

import platform
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import connection

from killswitch.audit import chain
from killswitch.audit.models import Kind
from killswitch.observer import audit_upkeep
from killswitch.supervision import fingerprint

log = structlog.get_logger(__name__)


def record_start(programs: Sequence[str]) -> None:
    """Before the programs start. A log that cannot be written must not keep a kill from running."""
    taken = fingerprint.take()
    more = {"python": platform.python_version(), "settings": taken.plain}
    _record(Kind.STARTED, data=_facts(programs, taken) | more)
    audit_upkeep.write_checkpoint("STARTED")


def record_stop(programs: Sequence[str], *, seconds: float) -> None:
    """After they have ended, for at most so long: the database may be gone as well."""
    ends_at = time.monotonic() + seconds
    data = _facts(programs, fingerprint.take())
    recorded = threading.Event()

    def run() -> None:
        _record(Kind.STOPPED, data=data)
        last = audit_upkeep.write_checkpoint("STOPPED")
        connection.close()  # of this thread
        recorded.set()
        if last:
            audit_upkeep.send_head(last)

    writing = threading.Thread(target=run, name="record-stop", daemon=True)
    writing.start()
    if not recorded.wait(seconds):
        log.error("the stop is not in the audit log: the database did not answer in time")
    writing.join(max(ends_at - time.monotonic(), 0.0))


def _facts(programs: Sequence[str], taken: fingerprint.Fingerprint) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "programs": list(programs),
        "settings_fingerprint": taken.digest,
    }


def _record(kind: Kind, *, data: dict[str, Any]) -> None:
    try:
        chain.record(chain.NewEvent(kind=kind, data=data))
    except Exception:
        log.exception("not in the audit log", kind=str(kind))
