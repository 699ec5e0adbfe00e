"""Django system checks of what a production system should have, for `manage.py check --deploy`.

They warn of what works, and is a choice in a trial. `up` does not print them.
"""

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage

from killswitch.supervision.notation_checks import is_this_machine

PRODUCTION = "killswitch_production"


@checks.register(PRODUCTION, deploy=True)
def check_signing_key(**_: Any) -> Iterator[CheckMessage]:
    """Check that checkpoints and exports are signed; without DATABASE_URL a key is created."""
    if settings.DATABASE_URL and not settings.AUDIT_SIGNING_KEY:
        text = (
            "AUDIT_SIGNING_KEY is not set, so checkpoints and exports of the audit log are not"
            " signed, and forged ones look the same. Create a key with `openssl genpkey -algorithm"
            " ed25519`, and name its file in AUDIT_SIGNING_KEY_FILE on every host."
        )
        yield checks.Warning(text, id="killswitch.W020")


@checks.register(PRODUCTION, deploy=True)
def check_alerts(**_: Any) -> Iterator[CheckMessage]:
    """Check that alarms reach people who do not look at the console."""
    if not settings.DEMO and not settings.ALERT_URLS:
        text = (
            "ALERT_URLS is not set, so alarms are shown on the console only. Set it to a pager, a"
            " chat or a mailbox, so that people who do not look at the console learn of failed"
            " cancels, and run `manage.py test_alert`."
        )
        yield checks.Warning(text, id="killswitch.W021")


@checks.register(PRODUCTION, deploy=True)
def check_second_factor(**_: Any) -> Iterator[CheckMessage]:
    """Check that a stolen password is not enough in production."""
    if settings.KILLSWITCH_ENVIRONMENT == "production" and settings.SECOND_FACTOR != "required":
        text = (
            "SECOND_FACTOR is optional in production: a stolen password is enough to cancel all"
            " orders. Set SECOND_FACTOR=required; users then set up theirs at the next sign-in."
        )
        yield checks.Warning(text, id="killswitch.W022")


@checks.register(PRODUCTION, deploy=True)
def check_proxy(**_: Any) -> Iterator[CheckMessage]:
    """Check that other machines reach the web process by TLS only."""
    if not settings.DEMO and not settings.TRUSTED_PROXY_COUNT and not _is_loopback(settings.HOST):
        text = (
            f"HOST={settings.HOST} can be reached from other machines, and TRUSTED_PROXY_COUNT is"
            " 0: passwords and sessions travel in clear text. Put a proxy that speaks TLS in front,"
            " and set TRUSTED_PROXY_COUNT=1; without one, set HOST=127.0.0.1."
        )
        yield checks.Warning(text, id="killswitch.W023")


@checks.register(PRODUCTION, deploy=True)
def check_ems_tls(**_: Any) -> Iterator[CheckMessage]:
    """Check that responses of the EMS cannot be forged; the other checks are about its keys."""
    url = urlsplit(settings.EMS_BASE_URL)
    has_keys = settings.EMS_API_KEY or settings.EMS_CLIENT_CERT or settings.EMS_CA_BUNDLE
    if url.scheme == "http" and not has_keys and not is_this_machine(url.hostname or ""):
        text = (
            f"EMS_BASE_URL is plain http, and {url.hostname} is not this machine: everyone on the"
            " network between can forge the EMS's responses, such as an empty list of open orders."
            " Write https://."
        )
        yield checks.Warning(text, id="killswitch.W024")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
