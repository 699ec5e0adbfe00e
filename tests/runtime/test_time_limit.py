"""A PostgreSQL server that accepts a statement and never answers keeps nobody waiting."""

import time

import pytest
from django.db import OperationalError, connection, transaction

from killswitch.runtime.time_limit import answered_within
from tests.conftest import wait_for

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
on_postgresql = connection.vendor == "postgresql"
LATE = "SELECT pg_sleep(2)" if on_postgresql else "SELECT 1"


def run(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def others_at_work() -> bool:
    """Return whether the server has not noticed yet that a connection was lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%%pg_sleep(2)' AND state = 'active'"
        )
        return bool(cursor.fetchone()[0])


def test_what_is_not_answered_in_time_fails_as_if_the_connection_were_lost() -> None:
    try:
        with answered_within(0.2):
            run(LATE)
    except OperationalError:
        assert on_postgresql
    else:
        assert not on_postgresql
    connection.close()
    run("SELECT 1")  # over a new connection
    if on_postgresql:
        wait_for(lambda: not others_at_work(), seconds=30)


def test_what_is_answered_in_time_is_left_alone() -> None:
    for _ in range(3):
        with answered_within(0.1):
            run("SELECT 1")
    time.sleep(0.5)
    run("SELECT 1")
