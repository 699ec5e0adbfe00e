"""Heartbeats do not wait for the disk, and everything else does."""

import pytest
from django.db import connection, transaction

from killswitch.runtime import heartbeats
from killswitch.runtime.durability import commit_without_flush, without_flush
from killswitch.runtime.heartbeats import Heartbeat, Process

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]


def setting() -> str:
    """Return how commits of this connection wait for the disk."""
    query = "SHOW synchronous_commit"
    if connection.vendor == "sqlite":
        query = "PRAGMA synchronous"
    with connection.cursor() as cursor:
        cursor.execute(query)
        return str(cursor.fetchone()[0])


SAFE = {"sqlite": "2", "postgresql": "on"}
UNSAFE = {"sqlite": "1", "postgresql": "off"}


def test_only_the_transaction_inside_does_not_wait() -> None:
    assert setting() == SAFE[connection.vendor]
    with without_flush():
        assert setting() == UNSAFE[connection.vendor]
        assert connection.in_atomic_block
    assert setting() == SAFE[connection.vendor]


def test_after_an_error_commits_wait_again_and_nothing_was_written() -> None:
    def fail() -> None:
        with without_flush():
            heartbeats.beat(Process.WORKER)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert setting() == SAFE[connection.vendor]
    assert not Heartbeat.objects.exists()


def test_inside_another_transaction_it_changes_nothing() -> None:
    with transaction.atomic():
        with without_flush():
            heartbeats.beat(Process.WORKER)
        assert setting() == SAFE[connection.vendor]
    assert Heartbeat.objects.exists()


def test_a_transaction_that_turns_out_to_be_unimportant_does_not_wait() -> None:
    with transaction.atomic():
        commit_without_flush()
        if connection.vendor == "postgresql":
            assert setting() == "off"
    assert setting() == SAFE[connection.vendor]
