"""The journal: what is on the disk afterwards, and what was changed in it is found."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from killswitch.break_glass.journal import FILE, Journal, JournalUnavailable, NonceUsed, _Entry
from killswitch.break_glass.journal_reader import GAP, HEAD_FILE, digest, parse, seal_of
from killswitch.runtime.files import open_locked
from tests.break_glass.conftest import disk_full_after
from tests.failures import failing
from tests.threads import run_at_once

LINES = 6


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """A journal of six lines."""
    journal = Journal(tmp_path)
    for number in range(LINES):
        journal.append("TEST", {"number": number})
    return journal


def raw_lines(journal: Journal) -> list[bytes]:
    return journal.path.read_bytes().splitlines(keepends=True)


def numbers(journal: Journal) -> list[int]:
    return [line.data["number"] for line in journal.read().lines]


def faults(journal: Journal) -> list[str]:
    """Return what a process that has not written the file finds."""
    return Journal(journal.path.parent).read().faults


def edit(lines: list[bytes], at: int) -> list[bytes]:
    return [
        *lines[:at],
        lines[at].replace(b'"number":', b'"number":1'),
        *lines[at + 1 :],
    ]


def remove(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def repeat(lines: list[bytes], at: int) -> list[bytes]:
    return lines[: at + 1] + lines[at:]


def insert_text(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], b"x\n", *lines[at:]]


def insert_empty_line(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], b"\n", *lines[at:]]


def move_to_the_front(lines: list[bytes], at: int) -> list[bytes]:
    return [lines[at], *lines[:at], *lines[at + 1 :]] if at else lines[1:] + lines[:1]


def cut_off(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at]


def cut_in_the_line(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[:at], lines[at][:-20]]


CHANGES = [
    edit,
    remove,
    repeat,
    insert_text,
    insert_empty_line,
    move_to_the_front,
    cut_off,
    cut_in_the_line,
]


def test_lines_are_read_as_they_were_written(journal: Journal) -> None:
    assert numbers(journal) == list(range(LINES))
    assert faults(journal) == []


def test_only_its_user_can_read_it(journal: Journal) -> None:
    for name in (FILE, HEAD_FILE):
        assert stat.S_IMODE((journal.path.parent / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("at", range(LINES))
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_the_file_is_found(
    journal: Journal, change: Callable[[list[bytes], int], list[bytes]], at: int
) -> None:
    journal.path.write_bytes(b"".join(change(raw_lines(journal), at)))
    assert faults(journal)


@pytest.mark.parametrize("at", range(LINES))
def test_a_line_that_was_hashed_again_without_the_key_is_found(journal: Journal, at: int) -> None:
    """Someone who may write the file, and does not know SECRET_KEY, edits a line and chains all."""
    lines = journal.read().lines
    forged, previous = [], lines[at].previous
    for line in lines[at:]:
        columns = {**vars(line), "previous": previous, "data": {"number": 99}}
        previous = columns["hash"] = digest(columns)
        columns["seal"] = seal_of(previous, key="another key")
        forged.append(type(line)(**columns).text.encode() + b"\n")
    journal.path.write_bytes(b"".join([*raw_lines(journal)[:at], *forged]))
    found = faults(journal)
    assert f"Line {at + 1} was not written by this installation." in found


def test_a_file_that_was_deleted_is_found(journal: Journal) -> None:
    journal.path.unlink()
    assert faults(journal) == [
        "Lines are missing at the end: line 6 was written, the last one is line 0."
    ]


def test_a_journal_of_another_time_in_its_place_is_found(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Journal(tmp_path / "other")
    for number in range(LINES + 1):
        other.append("TEST", {"number": number})
    journal.path.write_bytes(other.path.read_bytes())
    assert faults(journal)


def test_lines_of_an_earlier_key_are_still_its_own(journal: Journal, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "a new key"
    journal.append("TEST", {"number": LINES})
    assert faults(journal) == []
    settings.SECRET_KEY_FALLBACKS = []
    assert len(faults(journal)) == LINES


def older_head(journal: Journal) -> None:
    """Write the head as if line 4 had been the last one, without the key for its seal."""
    fields = {"journal": journal.read().lines[0].journal, "seq": 4, "hash": "", "seal": "0" * 64}
    (journal.path.parent / HEAD_FILE).write_text(json.dumps(fields))


def no_head(journal: Journal) -> None:
    (journal.path.parent / HEAD_FILE).unlink()


@pytest.mark.parametrize("kept", [4, 0])
@pytest.mark.parametrize("head", [lambda _: None, older_head, no_head])
def test_lines_that_were_cut_off_stay_found_when_others_are_added(
    journal: Journal, head: Callable[[Journal], None], kept: int
) -> None:
    head(journal)
    journal.path.write_bytes(b"".join(raw_lines(journal)[:kept]))
    if head is not no_head or kept:  # without any trace, it is a new journal
        for writer in (journal, Journal(journal.path.parent)):
            writer.append("TEST", {"number": 99})
            assert faults(journal), "it is on record from then on"


def test_a_crash_around_the_first_line_is_no_fault(tmp_path: Path) -> None:
    journal, head = Journal(tmp_path), tmp_path / HEAD_FILE
    with (
        failing("killswitch.break_glass.journal._write"),
        pytest.raises(JournalUnavailable),
    ):
        journal.append("TEST", {"number": 0})
    assert faults(journal) == []
    before = head.read_bytes()
    journal.append("TEST", {"number": 0})
    head.write_bytes(before)  # as if the process had died between the line and its head
    assert faults(journal) == []


HEADS = [
    b'{"journal":"x","seq":"x","hash":"","seal":""}',
    b'{"seal":null}',
    '{"seal":"é"}'.encode(),
    b"[]",
    b"[" * 100_000,
    b"\xff",
    b"1",
]


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_a_head_of_other_content_is_found_and_stops_nothing(journal: Journal, head: bytes) -> None:
    (journal.path.parent / HEAD_FILE).write_bytes(head)
    assert faults(journal) == [f"{HEAD_FILE} is missing or was changed."]
    journal.append("TEST", {"number": LINES})
    assert [line.kind for line in journal.read().lines] == [*["TEST"] * LINES, GAP, "TEST"]
    assert faults(journal) == [f"Before line 7: {HEAD_FILE} is missing or was changed."]


def test_a_line_with_any_text_as_its_seal_is_found_and_stops_nothing(journal: Journal) -> None:
    line = journal.read().next_line("PRESS", {"number": LINES, "press": "x", "nonce": "n"})
    with journal.path.open("ab") as file:
        file.write(type(line)(**{**vars(line), "seal": "é"}).text.encode() + b"\n")
    assert faults(journal) == [f"Line {LINES + 1} was not written by this installation."]
    journal.append("PRESS", {"number": LINES + 1, "press": "y", "nonce": "n"})
    assert numbers(journal) == list(range(LINES + 2))


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    journal = Journal(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        journal.read()
    with pytest.raises(JournalUnavailable):
        journal.append("TEST", {"number": 0})


def test_data_that_cannot_be_written_cost_no_other_line(journal: Journal) -> None:
    wrong = _Entry(kind="TEST", data={"number": 2**60})
    journal._waiting.append(wrong)
    journal.append("TEST", {"number": LINES})
    assert isinstance(wrong.outcome, JournalUnavailable)
    assert numbers(journal) == list(range(LINES + 1))


def test_half_a_line_that_a_crash_left_stays_and_costs_no_other_line(journal: Journal) -> None:
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"at":"2026')
    assert faults(journal) == []
    Journal(journal.path.parent).append("TEST", {"number": LINES})
    assert journal.path.read_bytes().startswith(whole + b'{"at":"2026\n')
    assert numbers(journal) == list(range(LINES + 1))
    assert faults(journal) == []
    # What a crash left is part of the evidence from then on.
    journal.path.write_bytes(journal.path.read_bytes().replace(b'{"at":"2026\n', b"", 1))
    assert faults(journal)


def test_a_nonce_is_used_once_by_all_processes(journal: Journal) -> None:
    journal.append("PRESS", {"press": "a", "nonce": "n", "number": 0})
    for other in (journal, Journal(journal.path.parent)):
        with pytest.raises(NonceUsed) as raised:
            other.append("PRESS", {"press": "b", "nonce": "n", "number": 0})
        assert raised.value.press == "a"
    assert len(journal.read().lines) == LINES + 1


def test_of_many_at_once_one_uses_the_nonce(tmp_path: Path) -> None:
    outcomes: list[str] = []

    def press(name: str) -> None:
        try:
            Journal(tmp_path).append("PRESS", {"press": name, "nonce": "n"})
        except NonceUsed as error:
            outcomes.append(error.press)
        else:
            outcomes.append(name)

    run_at_once(*(lambda name=str(number): press(name) for number in range(8)))
    assert len(outcomes) == 8
    assert len(set(outcomes)) == 1


WRITER = """
import sys
from pathlib import Path
from killswitch.break_glass.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(25):
    journal.append("TEST", {"number": number, "writer": sys.argv[2]})
"""


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": "."}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, name], env=environment)
        for name in "abcd"
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    reader = Journal(tmp_path).read()
    assert reader.faults == []
    for name in "abcd":
        own = [line.data["number"] for line in reader.lines if line.data["writer"] == name]
        assert own == list(range(25))


def test_a_line_that_does_not_fit_leaves_nothing_behind(journal: Journal) -> None:
    whole = journal.path.read_bytes()
    with disk_full_after(len(whole) + 100), pytest.raises(JournalUnavailable):
        journal.append("TEST", {"number": LINES})
    assert journal.path.read_bytes() == whole
    journal.append("TEST", {"number": LINES})
    assert numbers(journal) == list(range(LINES + 1))
    assert faults(journal) == []


def test_many_lines_at_once_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that needs its time for each write, one line after the other takes too long."""
    fsync, writes = os.fsync, list[int]()

    def slow_fsync(handle: int) -> None:
        writes.append(handle)
        time.sleep(0.02)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    journal = Journal(tmp_path)
    run_at_once(
        *(lambda number=number: journal.append("TEST", {"number": number}) for number in range(100))
    )
    assert sorted(numbers(journal)) == list(range(100))
    assert faults(journal) == []
    assert len(writes) < 100  # each line alone would need two, one of them for the head


def test_of_many_lines_that_do_not_fit_each_thread_learns(journal: Journal) -> None:
    whole = journal.path.read_bytes()

    def is_added(number: int) -> bool:
        try:
            journal.append("TEST", {"number": number})
        except JournalUnavailable:
            return False
        return True

    with disk_full_after(len(whole) + 100):
        added = run_at_once(*(lambda number=number: is_added(number) for number in range(20)))
    assert added == [False] * 20
    assert journal.path.read_bytes() == whole


def test_a_file_that_another_process_holds_is_given_up_in_time(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("killswitch.break_glass.journal.LOCK_TIMEOUT_S", 0.1)
    with open_locked(journal.path, timeout_s=1), pytest.raises(JournalUnavailable):
        journal.append("TEST", {"number": LINES})
    assert len(journal.read().lines) == LINES


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"data":1}', b"[" * 100_000],
)
def test_other_bytes_are_no_line(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its own class, which is a ValueError
        parse(raw)
