"""Writers of one SQLite file queue; a lock that is never given back is outlived."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest
from django.db import connection, transaction

from killswitch.runtime.revisions import Revision, current, next_revision
from killswitch.runtime.sqlite_queue import base

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("error"),
]


@pytest.fixture(autouse=True)
def only_on_sqlite(transactional_db: None) -> Path:
    assert connection.vendor == "sqlite"
    return Path(str(connection.settings_dict["NAME"]) + ".queue")


def write() -> None:
    try:
        with transaction.atomic():
            next_revision()
    finally:
        connection.close()


def test_a_burst_of_fifty_threads_all_write() -> None:
    before = current()
    threads = [threading.Thread(target=write) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert current() == before + 50


def test_a_transaction_goes_on_when_another_process_never_gives_the_lock_back(
    only_on_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TURN_TIMEOUT_S", 0.2)
    stuck = os.open(only_on_sqlite, os.O_RDWR | os.O_CREAT)
    fcntl.flock(stuck, fcntl.LOCK_EX)
    try:
        before = current()
        began = time.monotonic()
        write()
        assert time.monotonic() - began >= 0.2
        assert current() == before + 1
    finally:
        os.close(stuck)


def test_the_lock_is_given_back_after_a_rollback(only_on_sqlite: Path) -> None:
    def fail() -> None:
        with transaction.atomic():
            next_revision()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with only_on_sqlite.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_is_given_back_when_a_connection_is_closed_in_mid_transaction(
    only_on_sqlite: Path,
) -> None:
    def die() -> None:
        connection.set_autocommit(True)
        connection._start_transaction_under_autocommit()  # type: ignore[attr-defined]
        connection.close()

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    with only_on_sqlite.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_readers_do_not_queue(only_on_sqlite: Path) -> None:
    with only_on_sqlite.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert Revision.objects.count() == 1


def test_a_queue_file_that_cannot_be_opened_makes_writing_slower_and_not_impossible(
    only_on_sqlite: Path,
) -> None:
    only_on_sqlite.unlink(missing_ok=True)
    only_on_sqlite.mkdir()
    try:
        before = current()
        write()
        assert current() == before + 1
    finally:
        only_on_sqlite.rmdir()
