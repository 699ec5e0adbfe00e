"""Brings a database to what this version needs: tables, exchanges, and the demo's people."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection

from killswitch.accounts.demo import DemoPerson, ensure_demo_people
from killswitch.exchanges.registry import ExchangeConfig, InvalidExchangeId, add_missing
from killswitch.supervision import database_checks, listing
from killswitch.supervision.configuration_warnings import warnings
from killswitch.supervision.errors import CannotStart, naming_file_errors

log = structlog.get_logger(__name__)

ADVISORY_LOCK = 0x70726570  # any constant; every host asks for the same one
LOCK_TIMEOUT_S = 60  # seconds, for another host that is migrating


def prepare() -> tuple[DemoPerson, ...]:
    """Safe to repeat, and safe on several hosts at once. Raises `CannotStart`.

    Returns the demo's people, because looking at their passwords again would take a second.
    """
    listing.check(settings.KILLSWITCH_EXCHANGES)
    try:
        with naming_file_errors(settings.KILLSWITCH_HOME), one_at_a_time():
            database_checks.check()
            call_command("migrate", interactive=False, verbosity=0)
            call_command("createcachetable", verbosity=0)
            # First the people: by them the database is known for the demo's ever after.
            people = tuple(ensure_demo_people()) if settings.DEMO else ()
            add_missing(exchange_configs())
            for doubt in warnings():
                log.warning("doubtful", said=doubt)
            return people
    except InvalidExchangeId as error:
        raise CannotStart(f"KILLSWITCH_EXCHANGES: {error}.") from None
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        raise CannotStart(
            f"the database {database_checks.name()} cannot be prepared ({reason})."
        ) from error
    finally:
        connection.close()


def exchange_configs() -> tuple[ExchangeConfig, ...]:
    """The exchanges that the settings ask for, and the simulated ones of the demo."""
    asked_for = tuple(ExchangeConfig(exchange_id=one) for one in settings.KILLSWITCH_EXCHANGES)
    return (*_of_the_demo(), *asked_for) if settings.DEMO else asked_for


def _of_the_demo() -> tuple[ExchangeConfig, ...]:
    # The one place where the product looks at its simulator: only here, only in the demo.
    from killswitch.simulator.demo import DEMO_EXCHANGES

    return tuple(
        ExchangeConfig(exchange_id=one.exchange_id, name=one.name, caveat=one.caveat)
        for one in DEMO_EXCHANGES
    )


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for whoever else prepares the same database."""
    if connection.vendor != "postgresql":
        with (settings.KILLSWITCH_HOME / "prepare.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT_S}s"])
        try:
            cursor.execute("SELECT pg_advisory_lock(%s)", [ADVISORY_LOCK])
        except OperationalError:
            raise CannotStart(
                f"another host has been preparing the database {database_checks.name()}"
                f" for more than {LOCK_TIMEOUT_S} seconds."
            ) from None
        cursor.execute("SELECT set_config('lock_timeout', '0', false)")
    # The lock is the session's: closing the connection, in `prepare`, lets go of it.
    yield
