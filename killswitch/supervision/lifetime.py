"""Puts into the audit log when the system was started and stopped, and with which settings."""

import platform
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import connection

from killswitch.audit import chain
from killswitch.audit.models import Kind
from killswitch.supervision import fingerprint

log = structlog.get_logger(__name__)


def record_start(programs: Sequence[str]) -> None:
    """Before the programs start. A log that cannot be written must not keep a kill from running."""
    taken = fingerprint.take()
    more = {"python": platform.python_version(), "settings": taken.plain}
    _record(Kind.STARTED, data=_facts(programs, taken) | more)


def record_stop(programs: Sequence[str], *, seconds: float) -> None:
    """After they have ended, for at most so long: the database may be gone as well."""
    data = _facts(programs, fingerprint.take())

    def run() -> None:
        _record(Kind.STOPPED, data=data)
        connection.close()  # of this thread

    writing = threading.Thread(target=run, name="record-stop", daemon=True)
    writing.start()
    writing.join(seconds)
    if writing.is_alive():
        log.error("the stop is not in the audit log: the database did not answer in time")


def _facts(programs: Sequence[str], taken: fingerprint.Fingerprint) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "programs": list(programs),
        "settings_fingerprint": taken.digest,
    }


def _record(kind: Kind, *, data: dict[str, Any]) -> None:
    try:
        chain.record(chain.Fact(kind=kind, data=data))
    except Exception:
        log.exception("not in the audit log", kind=str(kind))
