"""The log: one line for each event, `key=value`, in UTC with microseconds, without secrets."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http.multipartparser import MultiPartParserError
from structlog.typing import EventDict, Processor

MASK = "***"
SHORTEST = 4  # a shorter "secret" would blot out half of the log, and protects nothing
SECRETS = ("SECRET_KEY", "EMS_API_KEY", "AUDIT_SIGNING_KEY")
LONGEST = 2_000  # signs of one value; who sends a request decides how long its path is
LONGEST_TRACEBACK = 20_000
# Begins with fixed signs, not with a scheme: on a long run of letters that took time by its square.
PASSWORD_IN_URL = re.compile(r"(?P<before>://[^\s/:@'\"]*:)[^\s/@'\"]+(?=@)")
# What a browser can bring about whenever it likes, and what tells all in its one line.
REFUSALS = (PermissionDenied, SuspiciousOperation, BadRequest, MultiPartParserError)
# These tell of every message, several times a minute, that all is well.
TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "kombu", "urllib3", "apprise", "asyncio")

_secrets: tuple[str, ...] = ()


class CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at that moment; it is redirected now and then."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def configure(logging_settings: Mapping[str, Any]) -> None:
    """What `LOGGING_CONFIG` names: Django calls it with `LOGGING` when it is set up."""
    global _secrets  # noqa: PLW0603 - found once, when the settings are there
    _secrets = known_secrets()
    handler = CurrentStderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_without_refusals, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers = [old for old in root.handlers if not isinstance(old, CurrentStderr)]
    root.addHandler(handler)
    root.setLevel(str(logging_settings.get("level", "info")).upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="%Y-%m-%dT%H:%M:%S.%fZ", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]


def _without_refusals(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A refused request needs no traceback: strangers would fill the log with them."""
    raised = event.get("exc_info")
    if isinstance(raised, tuple) and isinstance(raised[1], REFUSALS):
        del event["exc_info"]
    return event


def render(_logger: object, _method: str, event: EventDict) -> str:
    """One line, and a traceback on lines of its own, both of bounded length."""
    traceback = event.pop("exception", "")
    first = {key: event.pop(key, "") for key in ("at", "level", "logger", "event")}
    line = " ".join(
        [
            f"{first['at']} {first['level']:<7} {_one_line(first['logger'])}:",
            _one_line(first["event"]),
            *(f"{key}={_value(event[key])}" for key in event),
        ]
    )
    return f"{line}\n{_bounded(traceback, LONGEST_TRACEBACK)}" if traceback else line


def masked(text: str) -> str:
    """The text without any secret of the settings and without a password in a URL."""
    for secret in _secrets:
        text = text.replace(secret, MASK)
    return PASSWORD_IN_URL.sub(rf"\g<before>{MASK}", text)


def known_secrets() -> tuple[str, ...]:
    """The secret values among the settings, the longest first."""
    from django.conf import settings

    found = {str(getattr(settings, name, "")) for name in SECRETS}
    found |= {str(place.get("PASSWORD", "")) for place in settings.DATABASES.values()}
    found |= {*getattr(settings, "ALERT_URLS", ()), *settings.SECRET_KEY_FALLBACKS}
    return tuple(sorted((one for one in found if len(one) >= SHORTEST), key=len, reverse=True))


def _one_line(value: object) -> str:
    """A line break in a value from outside must not look like another event."""
    text = _bounded(str(value), LONGEST)
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _bounded(text: str, longest: int) -> str:
    """The beginning and the end, masked before the cut: half a secret would not be recognised."""
    text = masked(text)
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    half = longest // 2
    return f"{text[:half]}…[{left_out} signs left out]…{text[-half:]}"


def _value(value: object) -> str:
    text = _one_line(value)
    if text and not any(sign in text for sign in " =\"'"):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
