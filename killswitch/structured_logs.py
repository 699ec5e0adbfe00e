"""The log: one event on one line, as logfmt or JSON, in UTC with microseconds, without secrets."""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from structlog.processors import JSONRenderer, LogfmtRenderer
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

from killswitch.runtime.text import error_line, escape_controls

MASK = "***"
MIN_SECRET_CHARS = 4  # masking a shorter one would blot out half of the log and protect little
SECRET_SETTINGS = ("SECRET_KEY", "EMS_API_KEY", "AUDIT_SIGNING_KEY")
MAX_VALUE_CHARS = 2_000  # the sender of a request decides how long its path is
MAX_TRACEBACK_CHARS = 20_000
OUTAGE_INTERVAL_S = 10.0
# Begins with fixed characters, not with a scheme, which would take quadratic time on long words.
PASSWORD_IN_URL = re.compile(r"(?P<before>://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)")
# A browser can cause these at any rate, and their one line is complete.
REFUSALS = (PermissionDenied, SuspiciousOperation, BadRequest)
# These log every message, several times a minute, to report that all is well.
NOISY_LOGGERS = (
    "celery.worker.strategy",
    "celery.app.trace",
    "kombu",
    "urllib3",
    "apprise",
    "asyncio",
)
_logfmt = LogfmtRenderer(
    key_order=["at", "level", "logger", "event"], drop_missing=True, bool_as_flag=False
)

_secrets: tuple[str, ...] = ()


class CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment: `up` and tests redirect it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class OutageFilter(logging.Filter):
    """Makes one line of the tracebacks of a database that is gone, and counts what repeats it.

    While it is gone, each poll of each open page fails. A form is always logged: it may have been a
    cancel.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._next_line_at = float("-inf")
        self._repeated = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for a request that failed like the one before it, moments ago."""
        if record.name != "django.request" or not record.exc_info:
            return True
        from killswitch.runtime.database_errors import means_outage  # imports the ORM

        error = record.exc_info[1]
        if error is None or not means_outage(error):
            return True
        request = getattr(record, "request", None)
        with self._lock:
            is_read = request is not None and request.method in {"GET", "HEAD"}
            if is_read and self._clock() < self._next_line_at:
                self._repeated += 1
                return False
            repeated, self._repeated = self._repeated, 0
            self._next_line_at = self._clock() + OUTAGE_INTERVAL_S
        more = f"; {repeated} more requests failed since the last line" if repeated else ""
        record.msg, record.args = "%s (%s)%s", (record.getMessage(), error_line(error), more)
        record.exc_info = None
        return True


def configure(logging_settings: Mapping[str, Any]) -> None:
    """Set up the log: Django calls this with `LOGGING`, because `LOGGING_CONFIG` names it."""
    global _secrets  # noqa: PLW0603 - collected once, when the settings are there
    _secrets = known_secrets()
    common_processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    render = JSONRenderer() if logging_settings.get("format") == "json" else render_text
    handler = CurrentStderr()
    handler.addFilter(OutageFilter())
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[without_traceback_of_refusal, *common_processors],
            processors=[ProcessorFormatter.remove_processors_meta, make_safe, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if not isinstance(old, CurrentStderr)]
    root.addHandler(handler)
    root.setLevel(str(logging_settings.get("level", "info")).upper())
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)
    structlog.configure(
        processors=[*common_processors, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def without_traceback_of_refusal(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Drop the traceback of a refused request: strangers would fill the log with them."""
    exc_info = event_dict.get("exc_info")
    if isinstance(exc_info, tuple):
        # Imports the whole ORM, which break glass need not wait for.
        from django.http.multipartparser import MultiPartParserError

        if isinstance(exc_info[1], (*REFUSALS, MultiPartParserError)):
            del event_dict["exc_info"]
    return event_dict


def make_safe(_logger: object, _method: str, event_dict: EventDict) -> EventDict:
    """Mask, bound and escape all values: foreign text must not look like another event."""
    for key, value in event_dict.items():
        if key == "exception":
            event_dict[key] = _mask_and_bound(str(value), MAX_TRACEBACK_CHARS)
        elif not isinstance(value, int | float | None):
            event_dict[key] = escape_controls(_mask_and_bound(str(value), MAX_VALUE_CHARS))
    return event_dict


def render_text(logger: object, method: str, event_dict: EventDict) -> str:
    """Return the event as one line of logfmt, and a traceback on lines of its own."""
    traceback = event_dict.pop("exception", "")
    line = _logfmt(logger, method, event_dict)
    return f"{line}\n{traceback}" if traceback else line


def masked(text: str) -> str:
    """Return the text without secrets of the settings and without passwords in URLs."""
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return PASSWORD_IN_URL.sub(rf"\g<before>{MASK}", text)


def known_secrets() -> tuple[str, ...]:
    """Return the secret values among the settings, the longest first."""
    from django.conf import settings

    values = {str(getattr(settings, name, "")) for name in SECRET_SETTINGS}
    values |= {str(database.get("PASSWORD", "")) for database in settings.DATABASES.values()}
    redis_password = urlsplit(settings.REDIS_URL).password or ""
    values |= {redis_password, unquote(redis_password)}
    for name in ("ALERT_URLS", "ARCHIVE_URLS", "SECRET_KEY_FALLBACKS"):
        values |= {*getattr(settings, name, ())}
    # Of a PEM also its lines, apart from BEGIN and END, which are the same in every key.
    lines = (line.strip() for value in values if "\n" in value for line in value.splitlines())
    values |= {line for line in lines if not line.startswith("-----")}
    secrets = (value for value in values if len(value) >= MIN_SECRET_CHARS)
    return tuple(sorted(secrets, key=len, reverse=True))


def _mask_and_bound(text: str, max_chars: int) -> str:
    """Keep the beginning and the end; masked first, because half a secret is not recognised."""
    text = masked(text)
    surplus = len(text) - max_chars
    if surplus <= 0:
        return text
    half = max_chars // 2
    return f"{text[:half]}…[{surplus} characters left out]…{text[-half:]}"
