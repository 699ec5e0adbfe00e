"""No cell of an export runs in a spreadsheet, and none loses a character."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from killswitch.audit.export.csv_safe import CELL_LIMIT, cell, escape, row
from tests.audit.export.export_helpers import unescape
from tools import verify_export

STARTS = ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
SIGNS = st.text(st.sampled_from([*STARTS, "'", '"', ",", ";", "|", " ", "a", "é", "\u2028"]))
TEXTS = st.one_of(SIGNS, st.text(st.characters(exclude_categories=["Cs"])))
DELIMITERS = [",", ";", "|", "\t", "\r", "\n"]


@pytest.mark.parametrize("start", STARTS)
def test_a_cell_never_begins_with_what_a_spreadsheet_runs(start: str) -> None:
    assert escape(f'{start}cmd|"/C calc"!A0').startswith("'")


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("filler", ["", " ", '"', '" "'])
def test_nor_does_a_cell_that_another_delimiter_makes_of_its_middle(
    start: str, delimiter: str, filler: str
) -> None:
    assert escape(f"a{delimiter}{filler}{start}1") == f"a{delimiter}{filler}'{start}1"


@pytest.mark.parametrize(
    "plain", ["", "KRAKEN/JOHN", "a=b", "2-1", '{"a":-1}', "olga@bank", "'tis"]
)
def test_a_text_without_danger_stays_as_it_is_but_for_a_first_apostrophe(plain: str) -> None:
    assert escape(plain) == (f"'{plain}" if plain.startswith("'") else plain)


@given(TEXTS)
@example("\t\t=1")
@example("''=1")
@example(";';'=")
def test_the_exact_text_can_be_had_back(text: str) -> None:
    assert unescape(escape(text)) == text


@given(TEXTS)
def test_no_part_of_a_guarded_text_starts_a_formula(text: str) -> None:
    parts = [escape(text)]
    for delimiter in DELIMITERS:
        parts = [piece for part in parts for piece in part.split(delimiter)]
    # An empty part was made by a guarded tab or line break.
    assert not any(part.lstrip(' "').startswith(tuple(STARTS)) for part in parts)


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_row_is_read_back_by_any_reader_of_csv(cells: list[str]) -> None:
    line = row(cells)
    assert line.endswith("\r\n")
    (read,) = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert [unescape(cell) for cell in read] == cells


def units(text: str) -> int:
    """Return the length as a spreadsheet counts it."""
    return len(text.encode("utf-16-le")) // 2


LONG_TEXTS = st.builds(
    lambda unit, length, end: unit * (length // max(1, units(unit))) + end,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4) | SIGNS,
    st.integers(CELL_LIMIT - 100, CELL_LIMIT + 100) | st.integers(0, 100_000),
    TEXTS,
)


@given(LONG_TEXTS)
@example("a" * (CELL_LIMIT - 1))
@example("a" * CELL_LIMIT)
@example("🛑" * (CELL_LIMIT // 2 - 1))
@example("a" + "🛑" * (CELL_LIMIT // 2))
@example(";=" * (CELL_LIMIT // 3))
@example("'" * 100_000)
@example('"' * 50_000)
def test_every_cell_is_short_enough_for_a_spreadsheet(text: str) -> None:
    (cells,) = csv.reader(io.StringIO(row(["a", text]), newline=""), strict=True)
    assert units(cells[1]) < CELL_LIMIT
    if units(escape(text)) < CELL_LIMIT:
        assert unescape(cells[1]) == text
        return
    kept, mark, end = cells[1].rpartition("…")
    assert mark + end == f"… (cut; {len(text):,} characters; the whole text is in the JSONL export)"
    assert verify_export.CUT.search(cells[1])
    assert escape(text).startswith(kept)
    assert units(kept) > CELL_LIMIT - 100, "no more is cut than must be"


@given(LONG_TEXTS)
def test_no_part_of_a_cut_text_starts_a_formula(text: str) -> None:
    parts = [cell(text)]
    for delimiter in DELIMITERS:
        parts = [piece for part in parts for piece in part.split(delimiter)]
    assert not any(part.lstrip(' "').startswith(tuple(STARTS)) for part in parts)


def test_a_word_of_any_letters_is_written_as_it_is() -> None:
    letters = "".join(filter(str.isalnum, map(chr, range(0x110000))))
    cells = [letters[start : start + 999] for start in range(0, len(letters), 999)]
    assert [cell(text) for text in cells] == cells
    assert row(cells) == ",".join(f'"{text}"' for text in cells) + "\r\n"
