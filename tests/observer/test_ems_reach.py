"""Each process tests its own way to the EMS, over a new connection."""

import socket
import threading
from typing import Any

import pytest
from django.db import connection

from killswitch.ems.client import EmsClient, forget_client, get_client
from killswitch.exchanges.models import Exchange
from killswitch.observer import ems_reach
from killswitch.readiness.models import EmsReach
from killswitch.runtime.deadlines import wait_until
from killswitch.runtime.heartbeats import Process
from tests.ems.servers import Connection, Server, answering, response, serving

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db(transaction=True)]

LIST = response(200, b"[]")


@pytest.fixture(autouse=True)
def _new_client() -> Any:
    forget_client()
    yield
    forget_client()


def probe(settings: Any, url: str, *, key: str = "") -> EmsReach:
    settings.EMS_BASE_URL, settings.EMS_API_KEY = url, key
    settings.EMS_CONNECT_TIMEOUT = settings.EMS_TIMEOUT = 1.0
    forget_client()
    ems_reach.probe(Process.WORKER)
    return EmsReach.objects.get()


def test_an_ems_that_answers_is_reached(settings: Any) -> None:
    Exchange.objects.create(exchange_id="KRAKEN/JOHN")
    with serving(answering(LIST)) as server:
        reach = probe(settings, server.url)
    assert (reach.kind, reach.problem, reach.warning) == ("WORKER", "", "")
    assert b"GET /v1/orders?exchange_id=KRAKEN%2FJOHN " in server.requests[0]


def test_one_row_a_process_is_kept(settings: Any) -> None:
    with serving(answering(LIST)) as server:
        probe(settings, server.url)
        probe(settings, server.url)
    assert EmsReach.objects.count() == 1


def test_a_process_that_is_stopped_leaves_nothing_to_be_judged(settings: Any) -> None:
    """Its successor may have another key, which would then look like a difference."""
    stop = threading.Event()
    with serving(answering(LIST)) as server:
        probe(settings, server.url, key="old-key")
        thread = ems_reach.start_thread(Process.WORKER, stop)
        assert wait_until(lambda: len(server.requests) == 2, timeout_s=10, pause_s=0.01)
        stop.set()
        thread.join(10)
    assert not EmsReach.objects.exists()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (answering(response(401)), "the API key was rejected"),
        (answering(response(502)), "the proxy in front returned 502"),
        (Connection.reset, "Connection reset by peer"),
        (Connection.stay_silent, "did not finish within 1.0 s"),
    ],
    ids=["key", "proxy", "reset", "silence"],
)
def test_any_other_answer_is_a_problem(settings: Any, script: Any, problem: str) -> None:
    with serving(script) as server:
        assert problem in probe(settings, server.url).problem


def test_an_ems_that_takes_no_new_connections_is_not_reached(settings: Any) -> None:
    with serving(answering(LIST)) as server:
        assert probe(settings, server.url).problem == ""
        server._listener.shutdown(socket.SHUT_RDWR)
        server._listener.close()
        client = get_client()
        assert client.open_orders().readable, "the connection that is open still works"
        ems_reach.probe(Process.WORKER)
    assert "refused" in EmsReach.objects.get().problem


def test_settings_that_cannot_be_used_are_a_problem(settings: Any) -> None:
    settings.EMS_CLIENT_CERT = "/missing.pem"
    assert "no client for the EMS could be made" in probe(settings, "https://127.0.0.1:9").problem


def test_no_connection_to_the_database_is_held_meanwhile(settings: Any) -> None:
    held: list[bool] = []

    with serving(answering(LIST)) as server, pytest.MonkeyPatch.context() as patch:
        send = EmsClient._send

        def noted(*args: Any, **kwargs: Any) -> Any:
            held.append(connection.connection is not None)
            return send(*args, **kwargs)

        patch.setattr(EmsClient, "_send", noted)
        probe(settings, server.url)
    assert held == [False]


class TestTheFingerprint:
    def fingerprints(self, settings: Any, server: Server, *keys: str) -> list[str]:
        return [probe(settings, server.url, key=key).fingerprint for key in keys]

    def test_it_differs_with_the_key(self, settings: Any) -> None:
        with serving(answering(LIST)) as server:
            first, second, again = self.fingerprints(
                settings, server, "one-key", "another", "one-key"
            )
        assert first != second
        assert first == again

    def test_it_differs_with_the_address_and_not_for_a_slash(self) -> None:
        urls = ("http://a.example", "http://a.example/", "http://b.example")
        alpha, slash, beta = (EmsClient(base_url=url).fingerprint for url in urls)
        assert alpha == slash
        assert alpha != beta
