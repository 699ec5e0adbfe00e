"""Proves later with which settings the system ran, without telling any secret.

The settings that are no secret are part of the record as they are. Of each secret only a keyed
hash enters: without SECRET_KEY nobody can try guesses against it, and of SECRET_KEY itself only
what a slow function makes of it.
"""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from killswitch import structured_logs
from killswitch.audit import canonical_json

PLAIN = (
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
    "OBSERVE_INTERVAL",
    "KILLSWITCH_EXCHANGES",
    "SESSION_HOURS",
    "SECOND_FACTOR",
)
SECRET = (
    "DATABASE_URL",
    "REDIS_URL",
    "EMS_API_KEY",
    "AUDIT_SIGNING_KEY",
    "SECRET_KEY_FALLBACKS",
    "ALERT_URLS",
)
SALT = b"killswitch.supervision.fingerprint"


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One short text that changes with the settings, and those of them that may be read."""

    digest: str
    plain: dict[str, str]


def take() -> Fingerprint:
    """Of the settings of this process."""
    plain = {name: structured_logs.masked(text(getattr(settings, name, ""))) for name in PLAIN}
    key = hashlib.scrypt(settings.SECRET_KEY.encode(), salt=SALT, n=2**14, r=8, p=1)
    secret = {name: _keyed(key=key, value=getattr(settings, name, "")) for name in SECRET}
    secret["SECRET_KEY"] = _keyed(key=key, value="")
    whole = canonical_json.encode({"plain": plain, "secret": secret})
    return Fingerprint(digest=hashlib.sha256(whole.encode()).hexdigest(), plain=plain)


def text(value: Any) -> str:
    """One text for one value; lists are written with spaces, as in the environment."""
    if isinstance(value, list | tuple):
        return " ".join(str(item) for item in value)
    return str(value)


def _keyed(*, key: bytes, value: Any) -> str:
    return hmac.new(key, text(value).encode(), hashlib.sha256).hexdigest()
