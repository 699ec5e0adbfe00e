"""A notification channel: a local HTTP server that records what it is sent, and can misbehave."""

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import apprise
import pytest

from killswitch.alarms.models import Alarm, AlarmKind
from killswitch.alarms.outbox import send_pending
from killswitch.alarms.services import raise_alarm
from killswitch.audit.recorder import recording


class Sink(ThreadingHTTPServer):
    """Accepts notifications; `status` and `delay` set the answer for each path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.status: dict[str, int] = {}
        self.delay: dict[str, float] = {}
        self.stopped = threading.Event()

    def url(self, path: str = "/ok") -> str:
        return f"json://127.0.0.1:{self.server_address[1]}{path}"

    def titles(self, path: str = "/ok") -> list[str]:
        return [body["title"] for sent_path, body in self.received if sent_path == path]


class _Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.rstrip("/")
        self.server.received.append((path, body))
        self.server.stopped.wait(self.server.delay.get(path, 0))
        self.send_response(self.server.status.get(path, 200))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep requests out of standard error."""


@pytest.fixture(scope="session", autouse=True)
def _plugins_are_loaded() -> None:
    """The library loads all its plugins at the first use; one of them imports an old module."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        assert apprise.Apprise().add("json://127.0.0.1")


@pytest.fixture
def sink() -> Iterator[Sink]:
    server = Sink()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def alarm() -> Callable[..., Alarm]:
    """Return a function that raises an alarm in a recording of its own."""

    def make(subject: str = "one", **changes: Any) -> Alarm:
        fields = {"kind": AlarmKind.OUTCOME, "title": f"{subject} is not confirmed", **changes}
        with recording():
            raise_alarm(subject=subject, **fields)
        return Alarm.objects.get(kind=fields["kind"], subject=subject)

    return make


@contextmanager
def sending() -> Iterator[threading.Thread]:
    """Run the watchdog's loop in a thread that ends with the block."""
    stop = threading.Event()
    thread = threading.Thread(
        target=send_pending, args=[stop], kwargs={"poll_interval_s": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(5)
