"""The one log: whole lines with names, and never a reason to stand still."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from killswitch.supervision.log_multiplexer import MAX_BACKLOG_LINES, LogMultiplexer
from tests.conftest import wait_for


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def written(path: Path, *pieces: bytes) -> str:
    with path.open("wb") as file:
        console = LogMultiplexer(descriptor=file.fileno())
        for piece in pieces:
            console.feed("web", piece)
        console.close(seconds=5)
    return path.read_text()


def test_pieces_are_put_together_to_lines(tmp_path: Path) -> None:
    said = written(tmp_path / "log", b"one\ntw", b"o\n", b"three")
    assert said == "web       | one\nweb       | two\nweb       | three\n"


def test_a_line_that_never_ends_is_cut(tmp_path: Path) -> None:
    said = written(tmp_path / "log", b"x" * 50_000, b"x" * 50_000, b"y\n")
    assert [len(line) for line in said.splitlines()] == [100_012, 13]


def test_nobody_waits_for_a_reader_that_has_stopped_reading(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    console = LogMultiplexer(descriptor=writer)
    for _ in range(MAX_BACKLOG_LINES * 2):  # would take for ever if it waited
        console.feed("web", b"0123456789\n")
    os.set_blocking(reader, False)
    read = b""

    def says_what_is_missing() -> bool:
        nonlocal read
        console.feed("web", b"again\n")
        try:
            read += os.read(reader, 1 << 20)
        except BlockingIOError:
            return False
        return b"lines are missing here" in read

    wait_for(says_what_is_missing, seconds=10)


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    console = LogMultiplexer(descriptor=writer)
    console.say("hello")
    console.say("still here")
    console.close(seconds=5)
    os.close(writer)
