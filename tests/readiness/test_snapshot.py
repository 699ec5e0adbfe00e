"""What the database's disk says before the database itself does."""

import shutil
from collections import namedtuple

import pytest
from django.db import connection

from killswitch.readiness import health_checks, snapshot
from killswitch.readiness.judgement import Level
from tests.failures import failing

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

Usage = namedtuple("Usage", "total used free")


def disk(monkeypatch: pytest.MonkeyPatch, *, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(2**40, 2**40 - free, free))


def test_a_disk_too_full_for_a_press_is_told_before_the_press(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One row more finds room in a file that is there already; a press may not."""
    disk(monkeypatch, free=snapshot.MIN_FREE_DISK_BYTES - 1)
    if connection.vendor != "sqlite":
        snapshot.take()  # its disk is elsewhere
        return
    with pytest.raises(snapshot.DiskFull, match="63 MiB of disk space left"):
        snapshot.take()
    found = health_checks.evaluate()
    assert found.word is Level.NOT_READY
    assert "63 MiB of disk space left" in found.sentence


def test_a_disk_with_room_is_not_mentioned(monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, free=snapshot.MIN_FREE_DISK_BYTES)
    snapshot.take()


def test_a_disk_of_unknown_size_is_left_to_the_database() -> None:
    with failing("shutil.disk_usage"):
        snapshot.take()
