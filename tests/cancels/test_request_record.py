"""A kill waits for a database that is busy, and goes on elsewhere without one that is gone."""

import sqlite3
import time

import psycopg
import pytest
from django.db import OperationalError, connection

from killswitch.cancels import leases, request_record
from killswitch.cancels import recording as requests
from killswitch.cancels.request_record import DatabaseGone, RequestRecord
from tests.cancels.conftest import Press

pytestmark = pytest.mark.django_db(transaction=True)
WAIT_S = 0.1


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("cause", "is_busy"),
    [
        (psycopg.errors.LockNotAvailable(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (sqlite_error(sqlite3.SQLITE_BUSY), True),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), False),
        (psycopg.errors.AdminShutdown(), False),
        (None, False),
    ],
)
def test_a_busy_database_is_waited_for_and_one_that_is_gone_is_not(
    press: Press, monkeypatch: pytest.MonkeyPatch, cause: Exception | None, is_busy: bool
) -> None:
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    leases.stop_renewing(lease)
    monkeypatch.setattr(request_record, "MAX_WAIT_S", WAIT_S)
    record, began_at = RequestRecord(lease), time.monotonic()

    def fail_for_a_while(_request_id: int, token: str) -> str:
        if time.monotonic() - began_at < 3 * WAIT_S:
            raise OperationalError("it fails") from cause
        return token

    if is_busy:
        assert record.write(fail_for_a_while) == lease.token
    else:
        with pytest.raises(DatabaseGone):
            record.write(fail_for_a_while)
    assert record.uses_fallback != is_busy


@pytest.mark.both_databases
def test_without_the_database_the_lease_is_not_waited_for(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request,) = press("KRAKEN")
    (lease,) = leases.claim([request.pk])
    leases.stop_renewing(lease)
    monkeypatch.setattr(request_record, "MAX_WAIT_S", WAIT_S)
    record = RequestRecord(lease)
    record._fallback = record  # any place
    answered: list[bool] = []

    def hang(_request_id: int, _token: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(2)" if connection.vendor == "postgresql" else "FAIL")
        answered.append(True)

    monkeypatch.setattr(requests, "ensure_lease", hang)
    record.ensure_lease()
    assert answered == []
