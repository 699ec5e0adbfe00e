"""Brings a database to the state that this version needs: tables, exchanges, the demo's users."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from killswitch.accounts.demo import DemoUser, ensure_demo_users
from killswitch.ems.exchange_ids import InvalidExchangeId
from killswitch.exchanges.registry import ExchangeConfig, add_missing
from killswitch.runtime.deadlines import Deadline
from killswitch.runtime.files import OWNER_ONLY, open_locked
from killswitch.runtime.text import error_line
from killswitch.supervision import checks
from killswitch.supervision.checks import CannotStart
from killswitch.supervision.database_words import database_name
from killswitch.supervision.locks import naming_file_errors
from killswitch.supervision.session_checks import require_own_session

log = structlog.get_logger(__name__)

ADVISORY_LOCK = 0x70726570  # an arbitrary constant, the same on every host
LOCK_TIMEOUT_S = 60
MIGRATION_LOCK_TIMEOUT = "1s"
MIGRATION_PAUSE_S = 0.5
MIGRATION_PATIENCE_S = 120


def prepare() -> tuple[DemoUser, ...]:
    """Prepare the database; safe to repeat, and safe on several hosts at once.

    Returns the demo's users: hashing their passwords a second time would take a second. Raises
    `CannotStart`.
    """
    checks.raise_first_error(checks.check_exchange_ids())
    try:
        with naming_file_errors(settings.KILLSWITCH_HOME), _one_at_a_time():
            checks.require(checks.DATABASE)
            _migrate()
            call_command("createcachetable", verbosity=0)
            # The users come first: they mark the database as the demo's from now on.
            users = tuple(ensure_demo_users()) if settings.DEMO else ()
            add_missing(exchange_configs())
            for warning in checks.warnings():
                log.warning("configuration_warning", warning=warning)
            return users
    except InvalidExchangeId as error:
        raise CannotStart(f"KILLSWITCH_EXCHANGES: {error}.") from None
    except DatabaseError as error:
        reason = error_line(error)
        raise CannotStart(
            f"the database {database_name()} cannot be prepared ({reason})."
        ) from error
    finally:
        connection.close()


def create_sqlite_file() -> None:
    """Create the empty file of a new SQLite database, which no other process creates."""
    if connection.vendor == "sqlite":
        with suppress(OSError):  # the check of the database says why it cannot be used
            Path(connection.settings_dict["NAME"]).touch(mode=OWNER_ONLY)


def check_prepared() -> None:
    """Raise `CannotStart` unless this version can use the database as it is."""
    checks.require(checks.DATABASE)
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotStart(
            f"the database {database_name()} is not prepared for this version:"
            " run `manage.py prepare` once, then start again."
        )


def exchange_configs() -> tuple[ExchangeConfig, ...]:
    """Return the exchanges of the settings, and the simulated ones of the demo."""
    own_exchanges = tuple(
        ExchangeConfig(exchange_id=exchange_id) for exchange_id in settings.KILLSWITCH_EXCHANGES
    )
    if not settings.DEMO:
        return own_exchanges
    # The only import of the simulator in the product.
    from killswitch.simulator.demo import DEMO_EXCHANGES

    demo_exchanges = tuple(
        ExchangeConfig(exchange_id=demo.exchange_id, name=demo.name, caveat=demo.caveat)
        for demo in DEMO_EXCHANGES
    )
    return (*demo_exchanges, *own_exchanges)


def _migrate() -> None:
    """Apply the migrations while processes of the previous version may be running.

    On PostgreSQL, a statement that alters a table waits for the transactions that use it, and
    everything that comes later waits behind it, cancels too. So it waits for a second only, lets
    them pass, and tries again.
    """
    deadline = Deadline(MIGRATION_PATIENCE_S)
    while True:
        try:
            call_command("migrate", interactive=False, verbosity=0)
        except OperationalError as error:
            if "lock timeout" not in str(error):
                raise
            if deadline.has_passed:
                raise CannotStart(
                    f"other sessions have been using tables of the database"
                    f" {database_name()} for {MIGRATION_PATIENCE_S} seconds, so they could"
                    " not be altered. End long-running queries and transactions, then try again."
                ) from None
            log.info("migration_waits_for_other_sessions", reason=error_line(error))
            time.sleep(MIGRATION_PAUSE_S)
        else:
            return


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for another process that prepares the same database."""
    if connection.vendor != "postgresql":
        with open_locked(settings.KILLSWITCH_HOME / "prepare.lock", timeout_s=math.inf):
            yield
        return
    require_own_session()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT_S}s"])
        try:
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        except OperationalError:
            raise CannotStart(
                f"another host has been preparing the database {database_name()}"
                f" for more than {LOCK_TIMEOUT_S} seconds."
            ) from None
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [MIGRATION_LOCK_TIMEOUT])
    # The lock belongs to the session: closing the connection, in `prepare`, releases it.
    yield
