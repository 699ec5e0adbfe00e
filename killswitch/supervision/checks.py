"""Django system checks of the configuration, run by `up` and by `manage.py check --deploy`.

An error keeps the system from starting; a warning is allowed, but is probably a mistake. The
checks of the database's content run with `manage.py check --database default`.
"""

import json
import logging
import os
import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection

from killswitch.accounts.models import User
from killswitch.audit.models import AuditEvent, EventKind
from killswitch.exchanges.models import Exchange
from killswitch.runtime.schema_version import schema_difference
from killswitch.runtime.text import error_line
from killswitch.structured_logs import masked
from killswitch.supervision.database_words import database_name, explained

CONFIGURATION = "killswitch"
DATABASE = "killswitch_database"
MIN_KEY_CHARS = 32
REAL_EMS_SETTINGS = ("EMS_API_KEY", "EMS_CLIENT_CERT", "EMS_CA_BUNDLE")
QUOTES = "\"'`"
LIST_HINT = "separate them with spaces, without quotes"
SEPARATORS = re.compile(r"[,;]")
PLAIN_ID = re.compile(r"[A-Z0-9]{3,}")


class CannotStart(ImproperlyConfigured):
    """Ends the command with this sentence, without a traceback and with exit code 2."""


def require(tag: str) -> None:
    """Raise `CannotStart` with the first error of the checks with this tag."""
    raise_first_error(_run(tag))


def raise_first_error(messages: Iterable[CheckMessage]) -> None:
    """Raise `CannotStart` for the first error among the messages."""
    for message in messages:
        if message.level >= checks.ERROR:
            raise CannotStart(message.msg)


def warnings() -> list[str]:
    """Return the sentences of all warnings; the database must be prepared."""
    messages = [*_run(CONFIGURATION), *_run(DATABASE)]
    return [message.msg for message in messages if message.level == checks.WARNING]


def _run(tag: str) -> list[CheckMessage]:
    return checks.run_checks(tags=[tag], include_deployment_checks=True, databases=["default"])


@checks.register(CONFIGURATION, deploy=True)
def check_host(**_: Any) -> Iterator[CheckMessage]:
    """Check that HOST means an address."""
    try:
        socket.getaddrinfo(settings.HOST, settings.PORT, type=socket.SOCK_STREAM)
    except OSError as error:
        text = f"HOST={settings.HOST!r} is not an address ({error.strerror or error})."
        yield checks.Error(text, id="killswitch.E001")


@checks.register(CONFIGURATION)
def check_home(**_: Any) -> Iterator[CheckMessage]:
    """Check that files can be written."""
    home = settings.KILLSWITCH_HOME
    if not os.access(home, os.W_OK | os.X_OK):
        text = f"KILLSWITCH_HOME: the directory {home} cannot be written to by this user."
        yield checks.Error(text, id="killswitch.E008")


@checks.register(CONFIGURATION)
def check_exchange_ids(**_: Any) -> Iterator[CheckMessage]:
    """Check the list in KILLSWITCH_EXCHANGES: white space is its only separator.

    `KRAKEN,BINANCE` would be one exchange that no cancel reaches, but `KRAKEN,JOHN` may be an ID
    with an account tag. Text that may be either is a warning; only text that cannot be an ID is an
    error.
    """
    for exchange_id in settings.KILLSWITCH_EXCHANGES:
        parts = SEPARATORS.split(exchange_id)
        if any(quote in exchange_id for quote in QUOTES) or not all(parts):
            text = (
                f"KILLSWITCH_EXCHANGES: {exchange_id[:60]} cannot be an exchange ID; if these are"
                f" several, {LIST_HINT}."
            )
            yield checks.Error(text, id="killswitch.E002")
        elif len(parts) > 1 and all(PLAIN_ID.fullmatch(part) for part in parts):
            text = (
                f"KILLSWITCH_EXCHANGES: {exchange_id} is read as one exchange ID; if these are"
                f" several exchanges, {LIST_HINT}."
            )
            yield checks.Warning(text, id="killswitch.W001")


@checks.register(CONFIGURATION, deploy=True)
def check_ems(**_: Any) -> Iterator[CheckMessage]:
    """Check that a client can be made of the settings. Readiness shows whether the EMS responds."""
    from killswitch.ems.client import EmsClient
    from killswitch.ems.transport.adapter import tls_context

    for name, option in {"EMS_CLIENT_CERT": "client_cert", "EMS_CA_BUNDLE": "ca_bundle"}.items():
        if not (path := getattr(settings, name)):
            continue
        try:
            tls_context(base_url="https:", **{"client_cert": "", "ca_bundle": "", option: path})
        except OSError as error:
            text = (
                f"{name}: {path} cannot be used ({error.strerror or error})."
                " Name a PEM file that this user can read, without a password."
            )
            yield checks.Error(text, id="killswitch.E003")
            return
    try:
        EmsClient.from_settings().close()
    except ValueError as error:
        yield checks.Error(f"{error}.", id="killswitch.E003")


@checks.register(CONFIGURATION)
def check_demo(**_: Any) -> Iterator[CheckMessage]:
    """Check that no setting belongs to a real EMS where the simulated one is used."""
    names = [name for name in REAL_EMS_SETTINGS if getattr(settings, name)]
    if settings.KILLSWITCH_ENVIRONMENT != "demo":
        names.insert(0, "KILLSWITCH_ENVIRONMENT")
    if settings.DEMO and names:
        text = (
            f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} set, but EMS_BASE_URL is"
            " not: only simulated orders are cancelled."
        )
        yield checks.Warning(text, id="killswitch.W002")


@checks.register(CONFIGURATION, deploy=True)
def check_secret_key(**_: Any) -> Iterator[CheckMessage]:
    """Check the length of a key that an operator chose."""
    if settings.DATABASE_URL and len(settings.SECRET_KEY) < MIN_KEY_CHARS:
        text = (
            f"SECRET_KEY is shorter than {MIN_KEY_CHARS} characters: anyone who guesses it can sign"
            " in as any user. Move it to SECRET_KEY_FALLBACKS and set a new one. Remove it from"
            " there once the sessions have ended and second factors have been set up again."
        )
        yield checks.Warning(text, id="killswitch.W003")


@checks.register(CONFIGURATION, deploy=True)
def check_alert_urls(**_: Any) -> Iterator[CheckMessage]:
    """Check that each URL can be sent to; an alarm would be a late moment to find out."""
    if settings.ALERT_URLS and not settings.ARCHIVE_URLS:
        text = (
            "ARCHIVE_URLS is not set, so no checkpoint of the audit log leaves this host, and a log"
            " that is rewritten together with its checkpoints could not be told from the true one."
            " Set it to a mailbox or an archive that only auditors can change."
        )
        yield checks.Warning(text, id="killswitch.W011")
    if not settings.ALERT_URLS and not settings.ARCHIVE_URLS:
        return
    import apprise

    logging.getLogger("apprise").disabled = True  # our one sentence is enough
    try:
        unusable = [
            (name, number)
            for name in ("ALERT_URLS", "ARCHIVE_URLS")
            for number, url in enumerate(getattr(settings, name), 1)
            if not apprise.Apprise().add(url)
        ]
    finally:
        logging.getLogger("apprise").disabled = False
    for name, number in unusable:
        text = (
            f"{name}: the apprise library does not support URL number {number}, so nothing can be"
            " sent there."
        )
        yield checks.Error(text, id="killswitch.E004")


@checks.register(DATABASE, checks.Tags.database)
def check_migrations(databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Check that the database is not of a newer version: its tables would be unknown."""
    if not databases:
        return
    try:
        newer_migrations = schema_difference().newer
    except OperationalError as error:
        reason = explained(masked(error_line(error)))
        text = f"the database {database_name()} cannot be used ({reason})."
        yield checks.Error(text, id="killswitch.E007")
        return
    if newer_migrations:
        text = (
            f"the database {database_name()} was prepared by a newer version"
            f" ({newer_migrations[0]}): start that version, or restore a backup that was made"
            " before it."
        )
        yield checks.Error(text, id="killswitch.E005")


@checks.register(DATABASE, checks.Tags.database)
def check_history(databases: Sequence[str] | None = None, **_: Any) -> Iterator[CheckMessage]:
    """Check that a real log never gets cancels and exchanges of a simulated EMS."""
    if not databases or connection.vendor != "sqlite":  # the demo only uses SQLite
        return
    tables = {model._meta.db_table for model in (User, Exchange, AuditEvent)}
    if not tables <= set(connection.introspection.table_names()):
        return  # rows are only added once all tables exist
    has_demo_users = User.objects.filter(is_demo=True).exists()
    starts = AuditEvent.objects.filter(kind=EventKind.STARTED).values_list("data", flat=True)
    # The values of DEMO with which the system was started on this database.
    demo_values = {json.loads(data).get("settings", {}).get("DEMO", "") for data in starts}
    # `cancel_all` may have recorded cancels without any start.
    had_real_ems = "False" in demo_values or (Exchange.objects.exists() and not has_demo_users)
    if settings.DEMO and had_real_ems:
        text = (
            f"EMS_BASE_URL is not set, but the database {database_name()} was used with a real EMS."
            " Set EMS_BASE_URL to that EMS; for the demo set KILLSWITCH_HOME to a new directory."
        )
        yield checks.Error(text, id="killswitch.E006")
    # The demo's users are added before its exchanges, and cannot be deleted.
    if not settings.DEMO and (has_demo_users or "True" in demo_values):
        text = (
            f"The database {database_name()} was used by a demo: its simulated exchanges are"
            " enabled, and its cancels are in the log. For a real EMS set KILLSWITCH_HOME to a new"
            " directory."
        )
        yield checks.Warning(text, id="killswitch.W004")
