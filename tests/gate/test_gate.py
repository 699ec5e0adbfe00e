"""The gate on the real web server, over real sockets, in front of an application that can hang."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings

from killswitch.gate.application import LIMITS
from killswitch.gate.routes import LaneName
from killswitch.supervision import programs
from tests.conftest import wait_for
from tests.gate.clients import ask, connect, get, held, is_unanswered, post, read
from tests.supervision.system_process import environment, free_ports

MANY = 300
PRESS = post("/cancel-all/?free", b"key=1")
PRESS_ANSWER = (200, b"key=1")
EXPORT = get("/audit/export.csv")
OPEN_EXPORTS = LIMITS[LaneName.EXPORT].at_once

pytestmark = pytest.mark.timeout(180)


class Server:
    """The product's web server with one process, and `held_application` in place of Django."""

    def __init__(self, home: Path) -> None:
        self.log = home / "log.txt"
        self.port = int(free_ports(1)[0])
        command = list(programs.web().command)
        command[command.index("--port") + 1] = str(self.port)
        command[command.index("--workers") + 1] = "1"
        # Slow senders are held until the end of a test.
        command[command.index("--http1-header-read-timeout") + 1] = "60000"
        command[-1] = "tests.gate.held_application:application"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=environment(KILLSWITCH_HOME=str(home)),
                stdout=log,
                stderr=log,
            )
        wait_for(self.serves, seconds=60)

    def serves(self) -> bool:
        with suppress(OSError, ValueError, IndexError):
            return ask(self.port, get("/break-glass/?counts"))[0] == 200
        return False

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = json.loads(ask(self.port, get("/break-glass/?counts"))[1])
        return counts

    def running(self) -> int:
        counts = self.counts()
        started = sum(number for name, number in counts.items() if "/" in name)
        return started - counts.get("served", 0) - counts.get("closed", 0)

    def release(self) -> None:
        assert ask(self.port, get("/break-glass/?release")) == (200, b"served")


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture
def server(module_server: Server) -> Iterator[Server]:
    yield module_server
    module_server.release()
    wait_for(lambda: module_server.running() == 0, seconds=60)
    assert ask(module_server.port, get("/break-glass/?reset"))[0] == 200


@pytest.mark.parametrize(
    "data",
    [post("/accounts/login/", b"a", length=9), post("/cancel-all/", b"k", length=9), b"GET / HT"],
    ids=["bodies", "bodies of cancels", "headers"],
)
def test_slow_senders_do_not_hold_up_a_cancel(server: Server, data: bytes) -> None:
    with held(server.port, data, count=MANY) as slow:
        assert ask(server.port, PRESS) == PRESS_ANSWER
        assert all(is_unanswered(client) for client in slow)
    assert server.counts() == {"POST /cancel-all/": 1, "served": 1}  # nothing was done with a part


@pytest.mark.parametrize(
    ("lane", "path"),
    [
        (LaneName.POLL, "/poll/"),
        (LaneName.SIGN_IN, "/accounts/login/"),
        (LaneName.PAGE, "/audit/"),
        (LaneName.CONSOLE, "/"),
        (LaneName.CONFIRMATION, "/cancel-all/"),
        (LaneName.PROBE, "/readyz"),
        (LaneName.FILE, "/static/css/console.css"),
    ],
)
def test_a_flood_does_not_hold_up_a_cancel(server: Server, lane: LaneName, path: str) -> None:
    limits = LIMITS[lane]
    with held(server.port, get(path), count=MANY) as flood:
        wait_for(lambda: server.counts().get(f"GET {path}") == limits.threads, seconds=30)
        assert ask(server.port, PRESS) == PRESS_ANSWER
        assert server.counts()[f"GET {path}"] == limits.threads
        wait_for(lambda: sum(map(is_unanswered, flood)) == limits.threads, seconds=60)
        refused = [client for client in flood if not is_unanswered(client)]
        assert {read(client)[0] for client in refused} == {503}
        server.release()
        answers = [read(client) for client in flood if client not in refused]
    assert answers == [(200, b"served")] * limits.threads


def test_readers_that_do_not_read_hold_neither_threads_nor_memory(server: Server) -> None:
    with held(server.port, EXPORT, count=OPEN_EXPORTS) as slow:
        wait_for(lambda: server.counts().get("GET /audit/export.csv") == OPEN_EXPORTS, seconds=30)
        wait_for(lambda: _stands_still(server, "chunks"), seconds=30)
        assert ask(server.port, PRESS) == PRESS_ANSWER
        with connect(server.port, EXPORT) as next_export:
            assert is_unanswered(next_export)
            slow[0].close()
            assert next_export.recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: server.counts().get("closed") == 2, seconds=30)
    wait_for(lambda: server.counts()["closed"] == OPEN_EXPORTS + 1, seconds=30)


def _stands_still(server: Server, name: str) -> bool:
    before = server.counts()[name]
    return all(server.counts()[name] == before for _ in range(20))


def test_a_cancel_is_never_refused_however_many_wait(server: Server) -> None:
    with held(server.port, post("/cancel-all/", b"key=1"), count=MANY) as presses:
        running = LIMITS[LaneName.CANCEL].threads
        wait_for(lambda: server.counts().get("POST /cancel-all/") == running, seconds=30)
        assert ask(server.port, post("/break-glass/?free", b"x")) == (200, b"x")
        assert all(is_unanswered(press) for press in presses)
        server.release()
        assert [read(press) for press in presses] == [PRESS_ANSWER] * MANY


def test_clients_that_have_gone_leave_the_line_but_a_cancel_does_not(server: Server) -> None:
    threads = LIMITS[LaneName.PAGE].threads
    running = LIMITS[LaneName.CANCEL].threads
    with (
        held(server.port, get("/audit/"), count=threads),
        held(server.port, post("/cancel-all/", b"key=1"), count=running),
    ):
        wait_for(lambda: server.counts().get("GET /audit/") == threads, seconds=30)
        wait_for(lambda: server.counts().get("POST /cancel-all/") == running, seconds=30)
        with (
            held(server.port, get("/requests/"), count=10) as pages,
            held(server.port, post("/cancel-all/?free", b"key=1"), count=10),
        ):
            # The server takes its connections in order, so these now wait in their lines.
            assert ask(server.port, post("/break-glass/?free", b"x")) == (200, b"x")
            assert all(is_unanswered(page) for page in pages)
        # It notices closed connections no later than new ones.
        for _ in range(10):
            assert ask(server.port, post("/break-glass/?free", b"x")) == (200, b"x")
        with connect(server.port, get("/requests/?free")) as patient:
            server.release()
            assert read(patient) == (200, b"served")
            wait_for(lambda: server.counts()["POST /cancel-all/"] == running + 10, seconds=30)
            assert server.counts()["GET /requests/"] == 1


def test_an_error_is_logged_once_and_not_shown(server: Server) -> None:
    status, body = ask(server.port, get("/break-glass/?fail"))
    assert status == 500
    assert b"Traceback" not in body
    assert b"a failure" not in body
    wait_for(lambda: "a failure of the application" in server.log.read_text(), seconds=10)
    assert server.log.read_text().count("request_not_served") == 1
    assert server.log.read_text().count("Traceback") == 1


def test_its_stop_does_not_wait_for_requests(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with (
        held(server.port, get("/audit/"), count=4) as waiting,
        held(server.port, EXPORT, count=2),
    ):
        wait_for(lambda: server.counts().get("GET /audit/") == 4, seconds=30)
        assert all(is_unanswered(client) for client in waiting)
        server.process.terminate()
        assert server.process.wait(15) is not None


def test_an_export_that_fails_on_its_way_does_not_look_complete(server: Server) -> None:
    with connect(server.port, get("/audit/export.csv?fail")) as client:
        answer = b""
        with suppress(ConnectionError):
            while piece := client.recv(65_536):
                answer += piece
    assert b"x" * 1000 in answer
    assert not answer.endswith(b"0\r\n\r\n"), "the last chunk, which says that it is whole"
    assert "a failure of the export" in server.log.read_text()
