"""Looks at the database itself: may this version, with this EMS, go on with it?"""

import json

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from killswitch.accounts.models import User
from killswitch.audit.models import AuditEvent, Kind
from killswitch.exchanges.models import Exchange
from killswitch.supervision.errors import CannotStart


def check() -> None:
    """Raise `CannotStart` before anything is changed in it."""
    check_not_newer()
    check_history()


def was_the_demos() -> bool:
    """Whether a real EMS goes on with a database that holds simulated exchanges and kills."""
    return connection.vendor == "sqlite" and not settings.DEMO and _had_the_demo()


def check_not_newer() -> None:
    """A newer version's tables are not known here: every press would be refused by them."""
    loader = MigrationLoader(connection)
    ours = {one.label for one in apps.get_app_configs() if one.name.startswith("killswitch.")}
    replaced = {old for one in loader.disk_migrations.values() for old in one.replaces}
    unknown = set(loader.applied_migrations) - set(loader.disk_migrations) - replaced
    if newer := sorted(f"{app} {migration}" for app, migration in unknown if app in ours):
        raise CannotStart(
            f"the database {name()} is of a newer version ({newer[0]}): start that version, or"
            " restore the backup from before it."
        )


def check_history() -> None:
    """A real log never takes in kills and exchanges of a simulated EMS."""
    if connection.vendor != "sqlite":
        return  # the demo knows no other
    if settings.DEMO and _had_a_real_ems():
        raise CannotStart(
            f"EMS_BASE_URL is not set, and the database {name()} belongs to a real EMS. Set"
            " EMS_BASE_URL to it; for the demo set KILLSWITCH_HOME to a new directory."
        )


def check_prepared() -> None:
    """Without preparing it here: the database must be of this version."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CannotStart(
            f"the database {name()} is not of this version:"
            " run `manage.py prepare` once, then start again."
        )


def name() -> str:
    """Where the database is, without its password."""
    place = settings.DATABASES["default"]
    if connection.vendor == "sqlite":
        return str(place["NAME"])
    return f"{place['NAME']} at {place['HOST'] or 'localhost'}:{place['PORT'] or 5432}"


def _had_the_demo() -> bool:
    return _has_demo_people() or "True" in _starts()


def _had_a_real_ems() -> bool:
    # Kills may have been asked for by `cancel_all` alone, without any start.
    return "False" in _starts() or (_has_any(Exchange) and not _has_demo_people())


def _has_demo_people() -> bool:
    # They are made before the simulated exchanges, and nobody can delete them.
    return _has_table(User) and User.objects.filter(is_demo=True).exists()


def _has_any(model: type[Model]) -> bool:
    return _has_table(model) and model._default_manager.exists()


def _starts() -> set[str]:
    """The values of DEMO with which the system was started here."""
    if not _has_table(AuditEvent):
        return set()
    starts = AuditEvent.objects.filter(kind=Kind.STARTED).values_list("data", flat=True)
    return {json.loads(data).get("settings", {}).get("DEMO", "") for data in starts}


def _has_table(model: type[Model]) -> bool:
    return model._meta.db_table in connection.introspection.table_names()
