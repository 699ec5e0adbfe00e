"""Compares the migrations that the database has with those of the version that is running."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from django.apps import apps
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder


@dataclass(frozen=True, kw_only=True)
class SchemaDifference:
    """Migrations as "app name", sorted."""

    missing: Sequence[str]  # in the database
    newer: Sequence[str]  # of this product, which this version does not know


def schema_difference() -> SchemaDifference:
    """Return how the database differs, in one query. Raises `django.db.Error`."""
    applied = set(MigrationRecorder(connection).applied_migrations())
    own, known = _own_migrations()
    labels = {app.label for app in apps.get_app_configs() if app.name.startswith("killswitch.")}
    return SchemaDifference(
        missing=_names(own - applied),
        newer=_names({key for key in applied - known if key[0] in labels}),
    )


@cache
def _own_migrations() -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the migrations of this version, and those with the ones that they have replaced."""
    migrations = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    own = set(migrations)
    return own, own | {old for migration in migrations.values() for old in migration.replaces}


def _names(keys: set[tuple[str, str]]) -> Sequence[str]:
    return sorted(f"{app} {name}" for app, name in keys)
