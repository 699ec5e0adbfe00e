"""Without a name server, the EMS is still called at the addresses that it had last."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from killswitch.ems.transport.resolving import FILE, MAX_AGE_S, MAX_WAIT_S, KnownAddresses, Resolver
from killswitch.runtime.deadlines import wait_until
from tests.conftest import wait_for

ALPHA = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", 8080))]
BETA = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.3", 8080))]
UNKNOWN = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


class NameServer:
    """Answers what it is told, and hangs while `hangs` is set."""

    def __init__(self) -> None:
        self.answer: Any = ALPHA
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.lookups = 0

    def __call__(self, host: str, port: int, **_: Any) -> Any:
        if host[0].isdigit():
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]
        self.lookups += 1
        self.goes_on.wait(20)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.goes_on.set()


def resolver(home: Path) -> Resolver:
    """Return that of a process which has just started on this host."""
    return Resolver(KnownAddresses(lambda: home))


def resolve(own: Resolver) -> str:
    return str(own.resolve("ems.example", 8080, timeout_s=2.0)[0][4][0])


def kept(home: Path) -> bool:
    return (home / FILE).exists()


def known(own: Resolver, home: Path) -> Resolver:
    """Return the resolver once it has looked the name up and kept the answer."""
    assert resolve(own) == "127.0.0.2"
    wait_for(lambda: kept(home), seconds=10)
    return own


def test_the_last_address_is_used_when_the_name_is_gone(names: NameServer, tmp_path: Path) -> None:
    own = known(resolver(tmp_path), tmp_path)
    assert not own.uses_known_addresses
    names.answer = UNKNOWN
    assert resolve(own) == "127.0.0.2"
    assert own.uses_known_addresses


def test_a_process_that_starts_then_uses_it_as_well(names: NameServer, tmp_path: Path) -> None:
    known(resolver(tmp_path), tmp_path)
    names.answer = UNKNOWN
    assert resolve(resolver(tmp_path)) == "127.0.0.2"


def test_a_name_server_that_hangs_is_waited_for_briefly_and_once(
    names: NameServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    result = Future.result

    def noted(future: Any, timeout: float) -> Any:
        waits.append(timeout)
        return result(future, timeout)

    own = known(resolver(tmp_path), tmp_path)
    names.goes_on.clear()
    monkeypatch.setattr(Future, "result", noted)
    assert [resolve(own) for _ in range(5)] == ["127.0.0.2"] * 5
    assert waits == [MAX_WAIT_S, 0.0, 0.0, 0.0, 0.0]


def test_the_name_decides_again_as_soon_as_it_can_be_looked_up(
    names: NameServer, tmp_path: Path
) -> None:
    own = known(resolver(tmp_path), tmp_path)
    names.goes_on.clear()
    assert resolve(own) == "127.0.0.2"
    names.answer = BETA
    names.goes_on.set()
    wait_for(lambda: resolve(own) == "127.0.0.3", seconds=10)
    assert not own.uses_known_addresses


def test_a_name_that_was_never_looked_up_has_no_address(names: NameServer, tmp_path: Path) -> None:
    names.answer = UNKNOWN
    with pytest.raises(socket.gaierror, match="not known"):
        resolve(resolver(tmp_path))


def test_another_name_does_not_get_the_address(names: NameServer, tmp_path: Path) -> None:
    own = known(resolver(tmp_path), tmp_path)
    names.answer = UNKNOWN
    with pytest.raises(socket.gaierror):
        own.resolve("other.example", 8080, timeout_s=2.0)


def test_an_old_address_may_be_that_of_another_server(names: NameServer, tmp_path: Path) -> None:
    known(resolver(tmp_path), tmp_path)
    old = time.time() - MAX_AGE_S - 60
    os.utime(tmp_path / FILE, (old, old))
    names.answer = UNKNOWN
    with pytest.raises(socket.gaierror):
        resolve(resolver(tmp_path))


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"ems.example": ["evil.example"]}', '{"ems.example": 5}', "[" * 100_000],
    ids=["empty", "list", "name", "number", "nested"],
)
def test_a_file_that_cannot_be_understood_is_ignored(
    names: NameServer, tmp_path: Path, content: str
) -> None:
    (tmp_path / FILE).write_text(content)
    names.answer = UNKNOWN
    with pytest.raises(socket.gaierror):
        resolve(resolver(tmp_path))


def test_a_directory_that_cannot_be_written_to_keeps_no_call_from_going_out(
    names: NameServer, tmp_path: Path
) -> None:
    own = resolver(tmp_path / "missing")
    assert resolve(own) == "127.0.0.2"
    names.answer = UNKNOWN
    assert resolve(own) == "127.0.0.2", "this process knows it all the same"


def test_a_file_that_was_removed_is_written_again(names: NameServer, tmp_path: Path) -> None:
    own = known(resolver(tmp_path), tmp_path)
    (tmp_path / FILE).unlink()
    known(own, tmp_path)


def test_the_file_of_another_process_does_not_keep_ours_from_being_written(
    names: NameServer, tmp_path: Path
) -> None:
    own = known(resolver(tmp_path), tmp_path)
    (tmp_path / FILE).write_text('{"other.example": ["127.0.0.9"]}')
    resolve(own)
    names.answer = UNKNOWN
    assert wait_until(lambda: in_file(tmp_path) == ["127.0.0.2"], timeout_s=10, pause_s=0.01)


def in_file(home: Path) -> Any:
    return json.loads((home / FILE).read_bytes()).get("ems.example")


def test_a_disk_that_hangs_holds_no_call_up(names: NameServer, tmp_path: Path) -> None:
    disk_works = threading.Event()

    def home() -> Path:
        disk_works.wait(20)
        return tmp_path

    own = Resolver(KnownAddresses(home))
    own._known._known["ems.example"] = (time.time(), ["127.0.0.9"])
    assert resolve(own) == "127.0.0.2"
    calls = threading.Thread(target=resolve, args=[own], daemon=True)
    calls.start()
    calls.join(5)
    was_held_up = calls.is_alive()
    disk_works.set()
    assert not was_held_up


def test_a_call_that_cannot_wait_does_not_make_a_name_server_look_dead(
    names: NameServer, tmp_path: Path
) -> None:
    own = known(resolver(tmp_path), tmp_path)
    names.answer = BETA
    names.goes_on.clear()
    own.resolve("ems.example", 8080, timeout_s=0.005)
    assert not own.uses_known_addresses
    threading.Timer(0.05, names.goes_on.set).start()
    assert resolve(own) == "127.0.0.3", "a call that can wait gets the address of now"


def test_an_address_that_cannot_be_used_here_is_left_out(tmp_path: Path) -> None:
    gone = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%gone0", 8080, 0, 3))]
    known = KnownAddresses(lambda: tmp_path)
    known.remember("ems.example", [*gone, *ALPHA])
    assert [address[4][0] for address in known.get("ems.example", 8080)] == ["127.0.0.2"]
