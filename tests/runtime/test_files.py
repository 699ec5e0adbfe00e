"""A file is whole or absent, has one writer at a time, and survives processes that die."""

import fcntl
import multiprocessing
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pytest

from killswitch.runtime.files import (
    append_line,
    lock_file,
    open_locked,
    read_or_create,
    replace_file,
)
from tests.failures import failing

PROCESSES = 6
spawned = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def in_processes(target: Any, path: Path) -> None:
    """Run the function in several processes that begin together."""
    barrier = spawned.Barrier(PROCESSES)
    processes = [
        spawned.Process(target=target, args=[path, number, barrier]) for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES


def create_in_a_race(path: Path, number: int, barrier: Barrier) -> None:
    barrier.wait(30)
    secret = read_or_create(path, lambda: str(number).encode() * 10_000)
    path.with_name(f"seen-{number}").write_bytes(secret)


class TestReadOrCreate:
    def test_the_content_is_made_once_and_stays(self, path: Path) -> None:
        assert read_or_create(path, lambda: b"first") == b"first"
        assert read_or_create(path, pytest.fail) == b"first"

    def test_only_this_user_can_read_it_whatever_the_umask_is(self, path: Path) -> None:
        before = os.umask(0)
        try:
            read_or_create(path, lambda: b"secret")
        finally:
            os.umask(before)
        assert mode(path) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_an_empty_file_is_not_replaced(self, path: Path) -> None:
        path.touch()
        assert read_or_create(path, pytest.fail) == b""

    def test_threads_that_create_it_at_once_all_get_the_same(self, path: Path) -> None:
        barrier = threading.Barrier(16)

        def create(number: int) -> bytes:
            barrier.wait(10)
            return read_or_create(path, lambda: str(number).encode() * 10_000)

        with ThreadPoolExecutor(16) as pool:
            contents = set(pool.map(create, range(16)))
        assert contents == {path.read_bytes()}
        assert list(path.parent.iterdir()) == [path]

    def test_processes_that_create_it_at_once_all_get_the_same(self, path: Path) -> None:
        in_processes(create_in_a_race, path)
        contents = {copy.read_bytes() for copy in path.parent.glob("seen-*")}
        assert contents == {path.read_bytes()}
        assert len(list(path.parent.iterdir())) == PROCESSES + 1

    def test_a_file_that_another_process_created_in_between_wins(self, path: Path) -> None:
        def make() -> bytes:
            path.write_bytes(b"a moment before")
            return b"too late"

        assert read_or_create(path, make) == b"a moment before"
        assert list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "link"])
    def test_a_full_disk_or_one_without_links_leaves_no_file_behind(
        self, path: Path, step: str
    ) -> None:
        with failing(f"os.{step}"), pytest.raises(OSError, match="No space left"):
            read_or_create(path, lambda: b"secret")
        assert list(path.parent.iterdir()) == []


class TestReplaceFile:
    def test_the_new_content_takes_the_place_of_the_old_one(self, path: Path) -> None:
        path.write_bytes(b"old, and longer")
        path.chmod(0o644)
        replace_file(path, b"new")
        assert path.read_bytes() == b"new"
        assert mode(path) == 0o600
        assert list(path.parent.iterdir()) == [path]

    def test_a_reader_never_sees_half_of_it(self, path: Path) -> None:
        versions = {letter * 200_000 for letter in (b"a", b"b")}
        replace_file(path, min(versions))
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for version in versions:
                    replace_file(path, version)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = {path.read_bytes() for _ in range(300)}
        finally:
            stop.set()
            writer.join()
        assert seen <= versions

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk_keeps_the_old_content(self, path: Path, step: str) -> None:
        path.write_bytes(b"old")
        with failing(f"os.{step}"), pytest.raises(OSError, match="No space left"):
            replace_file(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(path.parent.iterdir()) == [path]


def append_in_a_race(path: Path, number: int, barrier: Barrier) -> None:
    barrier.wait(30)
    for _ in range(20):
        with open_locked(path, timeout_s=30) as file:
            file.seek(0)
            count = len(file.read().splitlines())
            append_line(file, f"{count} {number} {'x' * 5_000}".encode())


def lock_and_hang(path: Path, locked: Event) -> None:
    with open_locked(path, timeout_s=0):
        locked.set()
        time.sleep(60)


class TestLocks:
    def test_one_open_file_at_a_time_holds_the_lock(self, path: Path) -> None:
        with path.open("wb") as first, path.open("rb") as second:
            assert lock_file(first)
            assert not lock_file(second)
            assert not lock_file(second, timeout_s=0.05)
            fcntl.flock(first, fcntl.LOCK_UN)
            assert lock_file(second)

    def test_a_lock_is_waited_for(self, path: Path) -> None:
        with path.open("wb") as first, path.open("rb") as second:
            assert lock_file(first)
            threading.Timer(0.2, fcntl.flock, [first, fcntl.LOCK_UN]).start()
            assert lock_file(second, timeout_s=10)

    def test_a_process_that_is_killed_lets_go(self, path: Path) -> None:
        locked = spawned.Event()
        process = spawned.Process(target=lock_and_hang, args=[path, locked])
        process.start()
        assert locked.wait(30)
        with path.open("rb") as file:
            assert not lock_file(file)
            process.kill()
            process.join(30)
            assert lock_file(file)

    def test_a_file_that_is_locked_for_too_long_is_an_error_with_its_name(self, path: Path) -> None:
        second = open_locked(path, timeout_s=0.05)
        with (
            open_locked(path, timeout_s=0),
            pytest.raises(TimeoutError, match=r"has held file for 0\.05 s"),
        ):
            second.__enter__()
        with open_locked(path, timeout_s=0) as file:
            assert file.read() == b""
        assert mode(path) == 0o600

    def test_a_lock_that_cannot_be_had_at_all_is_an_error(self, path: Path) -> None:
        with (
            path.open("wb") as file,
            failing("fcntl.flock"),
            pytest.raises(OSError, match="No space left"),
        ):
            lock_file(file, timeout_s=9)


class TestAppendLine:
    def test_lines_follow_one_another(self, path: Path) -> None:
        for line in (b"one", b"two"):
            with open_locked(path, timeout_s=1) as file:
                append_line(file, line)
        assert path.read_bytes() == b"one\ntwo\n"

    def test_half_a_line_of_a_process_that_died_stays_a_line_of_its_own(self, path: Path) -> None:
        path.write_bytes(b"one\nhal")
        with open_locked(path, timeout_s=1) as file:
            append_line(file, b"two")
        assert path.read_bytes() == b"one\nhal\ntwo\n"

    def test_a_line_is_on_the_disk_when_the_call_returns(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at_sync: list[bytes] = []
        monkeypatch.setattr(os, "fsync", lambda _: at_sync.append(path.read_bytes()))
        with open_locked(path, timeout_s=1) as file:
            append_line(file, b"one")
        assert at_sync == [b"one\n"]

    def test_processes_append_in_turn_and_lose_no_line(self, path: Path) -> None:
        in_processes(append_in_a_race, path)
        lines = path.read_bytes().splitlines()
        assert [int(line.split()[0]) for line in lines] == list(range(20 * PROCESSES))
        assert {len(line.split()[2]) for line in lines} == {5_000}
