"""Connections are kept between requests, a few of them, and only while they reach the database."""

import gc
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import Error, OperationalError, connection, transaction
from django.db.backends.signals import connection_created
from django.test import RequestFactory

from killswitch.runtime import kept_connections
from killswitch.runtime.http import streamed
from killswitch.runtime.kept_connections import MAX_KEPT, reserved_connection
from killswitch.runtime.postgresql_kept.base import MAX_OPEN, MAX_RESERVED, DatabaseWrapper
from killswitch.runtime.revisions import Revision, current, next_revision
from tests.failures import database_gone
from tests.threads import holding_connections, run_at_once

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]
on_sqlite = pytest.mark.only_on("sqlite")
on_postgresql = pytest.mark.only_on("postgresql")


@pytest.fixture(autouse=True)
def none_kept() -> Iterator[None]:
    """Begin and end without a connection, but for one that creates SQLite's log file."""
    connection.close()
    connection.close_kept()  # type: ignore[attr-defined]
    yield
    connection.close()
    connection.close_kept()  # type: ignore[attr-defined]


def end_request() -> None:
    """Do what Django does at the end of a request, and at the begin of the next one."""
    connection.close_if_unusable_or_obsolete()


def serve() -> Any:
    """Serve a request of one query, and return the driver's connection that it used."""
    end_request()
    current()
    used = connection.connection
    end_request()
    return used


def kept() -> list[Any]:
    return [one.connection for one in own()._kept]


def own() -> Any:
    return kept_connections._databases[str(connection.settings_dict["NAME"])]


def test_the_next_request_uses_the_same_connection_in_whatever_thread() -> None:
    first = serve()
    assert kept() == [first]
    assert connection.connection is None
    assert run_at_once(serve) == [first]
    assert serve() is first


def test_twenty_requests_to_the_web_server_open_one_connection(settings: Any) -> None:
    cookie = f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"
    opened: list[Any] = []

    def note(connection: Any, **_: Any) -> None:
        opened.append(connection.connection)

    connection_created.connect(note)
    try:
        for _ in range(20):
            request = RequestFactory(headers={"Cookie": cookie}).get("/accounts/login/")
            WSGIHandler()(request.environ, lambda *_: lambda _: None).close()
    finally:
        connection_created.disconnect(note)
    assert len(opened) == 20
    assert len(set(map(id, opened))) == 1


def test_a_connection_that_is_closed_is_not_kept() -> None:
    serve()
    current()
    connection.close()
    assert kept() == []


def test_few_are_kept() -> None:
    barrier = threading.Barrier(MAX_KEPT + 3)

    def serve_at_once() -> Any:
        current()
        used = connection.connection
        barrier.wait(10)
        end_request()
        return used

    used = run_at_once(*[serve_at_once] * barrier.parties)
    assert len(set(map(id, used))) == barrier.parties
    assert len(kept()) == MAX_KEPT


def test_one_with_an_error_is_closed_together_with_all_that_are_kept() -> None:
    serve()
    with suppress(Error), connection.cursor() as cursor:
        cursor.execute("SELECT nonsense")
    end_request()
    assert kept() == []


def test_one_with_an_open_transaction_is_closed_and_its_transaction_ends() -> None:
    before = current()
    with suppress(Error), transaction.atomic():
        next_revision()
        end_request()
    assert kept() == []
    assert current() == before


def test_a_database_that_is_gone_is_noticed_by_the_next_request() -> None:
    first = serve()
    with database_gone():
        with pytest.raises(OperationalError):
            serve()
        assert kept() == []
    assert serve() is not first


def test_an_export_holds_no_connection_while_a_chunk_is_being_sent() -> None:
    """Its next chunk is read in another thread perhaps, or never."""

    def chunks() -> Iterator[bytes]:
        for _ in range(2):
            current()
            yield b"rows"

    export = streamed(chunks(), interrupted=b"")
    for _ in range(2):
        assert run_in_thread(lambda: next(export)) == b"rows"
        assert not own()._in_use
        assert len(kept()) == 1


def run_in_thread(action: Callable[[], Any]) -> Any:
    """Return the result of a thread that closes nothing itself."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    thread.join(30)
    return results[0]


@on_sqlite
def test_a_file_that_was_replaced_is_read_and_written_instead_of_the_old_one() -> None:
    first = serve()
    path = Path(str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    end_request()
    assert kept() == [first]
    Path(shutil.copy(path, path.with_name("copy"))).replace(path)
    with transaction.atomic():
        newest = next_revision()
    assert connection.connection is not first
    connection.close()
    assert current() == newest


@on_sqlite
@pytest.mark.parametrize("name", ["{}", "{}-wal"])
def test_nothing_is_written_to_a_file_that_was_removed(name: str) -> None:
    """Both are written: the file, and the log that has what is newer."""
    first = serve()
    path = Path(name.format(connection.settings_dict["NAME"]))
    away = path.with_name("away")
    path.rename(away)
    try:
        with suppress(OperationalError):
            assert serve() is not first
        assert first not in kept()
    finally:
        connection.close()
        away.rename(path)


@on_sqlite
def test_a_file_that_can_no_longer_be_written_is_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = serve()
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert serve() is not first
    assert kept() == [], "one that was opened for reading only would refuse a cancel later"


@on_sqlite
def test_a_request_sees_nothing_through_a_cursor_that_an_earlier_one_left_open() -> None:
    Revision.objects.filter(id=1).update(value=5)
    cursor = connection.cursor()
    cursor.execute("SELECT value FROM live_revision UNION ALL SELECT 0")
    cursor.fetchone()
    end_request()
    (own,) = kept()
    with closing(sqlite3.connect(str(connection.settings_dict["NAME"]))) as elsewhere:
        elsewhere.execute("UPDATE live_revision SET value = 6")
        elsewhere.commit()
    assert current() == 6
    assert connection.connection is own


def backend_pid() -> int:
    current()
    assert connection.connection is not None
    return int(connection.connection.info.backend_pid)


@contextmanager
def hanging(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@on_postgresql
def test_a_request_does_not_wait_for_a_server_that_hangs() -> None:
    both_connected = threading.Barrier(2, timeout=30)

    def serve_together() -> int:
        pid = backend_pid()
        both_connected.wait()
        end_request()
        return pid

    pids = run_at_once(serve_together, serve_together)
    assert len(kept()) == 2
    with hanging(pids[0]), hanging(pids[1]):
        assert backend_pid() not in pids
    assert kept() == []


@on_postgresql
def test_a_session_that_the_server_has_ended_is_replaced() -> None:
    pid = backend_pid()
    end_request()
    assert kept()

    def end_session() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    taken = own().take()
    run_at_once(end_session)
    assert own().keep(taken)
    assert backend_pid() != pid


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def sessions() -> int:
    """Return how many sessions PostgreSQL has, counted by one that is none of ours."""
    with psycopg.connect(own_server()) as outside:
        row = outside.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [connection.settings_dict["NAME"]],
        ).fetchone()
    assert row
    return int(row[0])


def own_server() -> str:
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    return psycopg.conninfo.make_conninfo(
        **{name: parameters[name] for name in names if name in parameters}
    )


@on_postgresql
class TestAProcessOpensNoMoreThanItsShare:
    ORDINARY = MAX_OPEN - MAX_RESERVED

    def test_one_more_waits_until_one_is_closed(self) -> None:
        with holding_connections(self.ORDINARY - 1):
            current()
            assert sessions() == self.ORDINARY
            waiting = threading.Thread(target=run_at_once, args=[current])
            waiting.start()
            time.sleep(0.3)
            assert waiting.is_alive()
            connection.close()
            waiting.join(10)
            assert not waiting.is_alive()
            assert sessions() <= self.ORDINARY

    def test_one_more_waits_until_one_is_kept(self) -> None:
        with holding_connections(self.ORDINARY - 1):
            kept_soon = threading.Event()

            def keep_one_soon() -> None:
                current()
                kept_soon.set()
                time.sleep(0.3)
                end_request()

            thread = threading.Thread(target=keep_one_soon)
            thread.start()
            assert kept_soon.wait(10)
            assert run_at_once(current)
            thread.join()
            assert sessions() <= self.ORDINARY

    def test_one_that_finds_none_free_fails_and_says_why(self) -> None:
        with holding_connections(self.ORDINARY):
            with pytest.raises(OperationalError, match="connections of this process stay in use"):
                current()
            assert sessions() == self.ORDINARY
        assert current() >= 0, "the next request finds one"

    def test_what_a_cancel_waits_for_may_use_the_reserved_ones(self) -> None:
        with holding_connections(self.ORDINARY):
            with reserved_connection():
                assert current() >= 0
            connection.close()
            with pytest.raises(OperationalError):
                current()

    def test_a_thread_that_ended_without_closing_its_connection_blocks_nobody(self) -> None:
        def leave_open() -> None:
            current()
            lost.append(connection.connection.info.backend_pid)

        lost: list[int] = []
        threads = [threading.Thread(target=leave_open) for _ in range(self.ORDINARY)]
        for thread in threads:
            thread.start()
            thread.join()
        del thread, threads
        assert len(lost) == self.ORDINARY
        assert current() >= 0

    def test_one_that_is_closed_wakes_what_may_use_the_reserved_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kept_connections, "RECOUNT_INTERVAL_S", 10.0)
        have_one, reserved_waits, release = (threading.Event() for _ in range(3))
        results: list[str] = []

        def use_the_last_reserved_one() -> None:
            with reserved_connection():
                current()
                have_one.set()
                release.wait(30)
                connection.close()

        def wait(name: str) -> None:
            try:
                current()
                results.append(name)
            except OperationalError:
                results.append(f"{name} fails")
            finally:
                connection.close()

        def wait_for_a_reserved_one() -> None:
            with reserved_connection():
                reserved_waits.set()
                wait("reserved")

        with (
            holding_connections(self.ORDINARY),
            holding_connections(MAX_RESERVED - 1, reserved=True),
        ):
            threads = [threading.Thread(target=use_the_last_reserved_one)]
            threads[0].start()
            assert have_one.wait(10)
            # The ordinary one waits first, and none is free for it.
            for action in (partial(wait, "ordinary"), wait_for_a_reserved_one):
                threads.append(threading.Thread(target=action))
                threads[-1].start()
                time.sleep(0.2)
            assert reserved_waits.wait(10)
            release.set()
            for thread in threads:
                thread.join(10)
        assert results == ["reserved", "ordinary fails"]

    def test_that_none_is_given_back_means_that_the_server_hangs(self) -> None:
        codes: list[str | None] = []
        with holding_connections(self.ORDINARY):
            for _ in range(2):
                with pytest.raises(OperationalError) as failure:
                    current()
                codes.append(getattr(failure.value.__cause__, "sqlstate", None))
        assert codes == [psycopg.errors.TooManyConnections.sqlstate, None]

    def test_a_server_that_hangs_is_waited_for_once_by_all_threads(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts: list[int] = []
        open_connection = DatabaseWrapper.open_connection

        def noted(self: DatabaseWrapper, conn_params: Any) -> Any:
            attempts.append(1)
            return open_connection(self, conn_params)

        def fail() -> None:
            with pytest.raises(OperationalError, match="timeout expired"):
                current()

        monkeypatch.setattr(DatabaseWrapper, "open_connection", noted)
        with psycopg.connect(own_server()) as outside:
            postmaster = parent_of(outside.info.backend_pid)
        # All begin to wait before the first attempt has timed out.
        monkeypatch.setattr(kept_connections, "MAX_WAIT_S", 5.0)
        with hanging(postmaster):
            run_at_once(*[fail] * 20)
        assert len(attempts) == self.ORDINARY

    def test_one_that_could_not_be_opened_is_not_counted(self) -> None:
        with database_gone():
            for _ in range(MAX_OPEN + 1):
                with pytest.raises(OperationalError):
                    current()
        with holding_connections(self.ORDINARY - 1):
            assert current() >= 0


@on_sqlite
def test_the_connection_of_a_thread_that_ended_without_closing_it_is_not_kept_for_ever() -> None:
    def open_ones() -> int:
        gc.collect()
        return sum(isinstance(one, sqlite3.Connection) for one in gc.get_objects())

    current()
    before = open_ones()
    for _ in range(3):
        thread = threading.Thread(target=current)
        thread.start()
        thread.join()
    del thread
    assert open_ones() == before
