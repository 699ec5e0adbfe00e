"""The one log: whole lines with names, which never block a program."""

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


def multiplex(path: Path, *pieces: bytes) -> str:
    with path.open("wb") as file:
        output = LogMultiplexer(descriptor=file.fileno())
        for piece in pieces:
            output.feed("web", piece)
        output.close(timeout_s=5)
    return path.read_text()


def test_pieces_are_joined_to_lines(tmp_path: Path) -> None:
    lines = multiplex(tmp_path / "log", b"one\ntw", b"o\n", b"three")
    assert lines == "web       | one\nweb       | two\nweb       | three\n"


def test_a_line_without_an_end_is_cut(tmp_path: Path) -> None:
    lines = multiplex(tmp_path / "log", b"x" * 50_000, b"x" * 50_000, b"y\n")
    assert [len(line) for line in lines.splitlines()] == [100_012, 13]


def test_a_reader_that_has_stopped_reading_blocks_no_program(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    output = LogMultiplexer(descriptor=writer)
    for _ in range(MAX_BACKLOG_LINES * 2):  # would never end if it waited
        output.feed("web", b"0123456789\n")
    os.set_blocking(reader, False)
    data = b""

    def reports_missing_lines() -> bool:
        nonlocal data
        output.feed("web", b"again\n")
        try:
            data += os.read(reader, 1 << 20)
        except BlockingIOError:
            return False
        return b"lines are missing here" in data

    wait_for(reports_missing_lines, seconds=30)


def test_a_terminal_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = LogMultiplexer(descriptor=writer)
    output.write_lines("hello")
    output.write_lines("still here")
    output.close(timeout_s=5)
    os.close(writer)
