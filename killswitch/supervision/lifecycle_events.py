"""Records in the audit log when the system was started and stopped, and with which settings."""

import platform
import threading
from collections.abc import Sequence
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.utils.crypto import salted_hmac

from killswitch import structured_logs
from killswitch.audit import canonical_json
from killswitch.audit.models import EventKind
from killswitch.audit.recorder import recording
from killswitch.observer import audit_upkeep
from killswitch.runtime.deadlines import Deadline

log = structlog.get_logger(__name__)

PLAIN_SETTINGS = (
    "VERSION",
    "KILLSWITCH_ENVIRONMENT",
    "KILLSWITCH_HOME",
    "HOST",
    "PORT",
    "ALLOWED_HOSTS",
    "TRUSTED_PROXY_COUNT",
    "DEMO",
    "EMBEDDED_REDIS",
    "EMS_BASE_URL",
    "EMS_CLIENT_CERT",
    "EMS_CA_BUNDLE",
    "EMS_CONNECT_TIMEOUT",
    "EMS_TIMEOUT",
    "CANCEL_DEADLINE",
    "REQUEST_MAX_AGE",
    "OBSERVE_INTERVAL",
    "HOLD_INTERVAL",
    "HOLD_RELEASE_PERSONS",
    "KILLSWITCH_EXCHANGES",
    "SESSION_HOURS",
    "SECOND_FACTOR",
    "ALERT_ESCALATE_AFTER_MIN",
    "ALARM_OVERDUE_MIN",
)
SECRET_SETTINGS = (
    "DATABASE_URL",
    "REDIS_URL",
    "EMS_API_KEY",
    "AUDIT_SIGNING_KEY",
    "SECRET_KEY_FALLBACKS",
    "ALERT_URLS",
    "ARCHIVE_URLS",
)


def record_start(programs: Sequence[str]) -> None:
    """Record the start; a log that cannot be written does not prevent it."""
    environment = {"python": platform.python_version(), "settings": plain_settings()}
    _record(EventKind.STARTED, data=_facts(programs) | environment)
    audit_upkeep.try_to_write_checkpoint("STARTED")


def record_stop(programs: Sequence[str], *, timeout_s: float) -> None:
    """Record the stop, for at most `timeout_s`: the database may be gone as well."""
    deadline = Deadline(timeout_s)
    data = _facts(programs)
    end_of_record = threading.Event()

    def run() -> None:
        _record(EventKind.STOPPED, data=data)
        checkpoint = audit_upkeep.try_to_write_checkpoint("STOPPED")
        connection.close()  # of this thread
        end_of_record.set()
        if checkpoint:
            audit_upkeep.send_head(checkpoint)

    thread = threading.Thread(target=run, name="record-stop", daemon=True)
    thread.start()
    if not end_of_record.wait(deadline.seconds_left):
        log.error("stop_not_recorded", reason="the database did not respond in time")
    thread.join(deadline.seconds_left)


def plain_settings() -> dict[str, str]:
    """Return the settings that are not secret, lists written as in the environment."""
    return {name: structured_logs.masked(_text(name)) for name in PLAIN_SETTINGS}


def fingerprint() -> str:
    """Return 64 characters that change with every setting, and reveal no secret.

    It is keyed with SECRET_KEY, so guesses of the other secrets cannot be tried against it.
    """
    secret = {name: _text(name) for name in SECRET_SETTINGS}
    value = canonical_json.encode({"plain": plain_settings(), "secret": secret})
    return salted_hmac(__name__, value, algorithm="sha256").hexdigest()


def _text(name: str) -> str:
    value = getattr(settings, name, "")
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _facts(programs: Sequence[str]) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "programs": list(programs),
        "settings_fingerprint": fingerprint(),
    }


def _record(kind: EventKind, *, data: dict[str, Any]) -> None:
    try:
        with recording() as record:
            record.event(kind, data=data)
    except Exception:
        log.exception("not_in_audit_log", kind=str(kind))
