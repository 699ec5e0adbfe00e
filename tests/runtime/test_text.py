"""Any foreign text can be stored and shown; numbers read as people write them."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.runtime.templatetags.text import break_at_separators
from killswitch.runtime.text import (
    clean_line,
    clock_text,
    close_names,
    duration_text,
    error_line,
    escape_controls,
    pluralize_count,
    sanitize,
    truncate,
)

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN"}
TURNING_MARKS = "\u061c\u200e\u200f"


class TestSanitize:
    @settings(deadline=None)
    @given(ANY_TEXT)
    def test_any_text_becomes_one_that_both_databases_store(self, text: str) -> None:
        safe = sanitize(text)
        safe.encode()
        assert "\x00" not in safe
        assert sanitize(safe) == safe

    @settings(deadline=None)
    @given(ANY_TEXT.filter(lambda text: "\\u" not in text))
    def test_what_was_escaped_can_be_read_back(self, text: str) -> None:
        escape = r"\\u(0000|d[89a-f][0-9a-f]{2})"
        assert re.sub(escape, lambda match: chr(int(match[1], 16)), sanitize(text)) == text

    def test_only_nul_and_lone_surrogates_change(self) -> None:
        kept = "\x01\n\x7f\x9b\u2028\u202e\U0001f600\\u0041<b>"
        assert sanitize(f"a\x00b\ud83d{kept}") == f"a\\u0000b\\ud83d{kept}"


class TestCleanLine:
    @settings(deadline=None)
    @given(ANY_TEXT, st.integers(1, 50))
    def test_any_text_becomes_one_that_is_stored_on_one_line(self, text: str, limit: int) -> None:
        line = clean_line(text, max_chars=limit)
        assert len(line) <= limit
        assert sanitize(line) == line
        assert {unicodedata.category(character) for character in line}.isdisjoint({"Cc", "Cs"})

    @settings(deadline=None)
    @given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"])))
    def test_words_stay_as_they_were_typed(self, text: str) -> None:
        assert clean_line(text, max_chars=len(text)) == text

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("  fat finger \n", "fat finger"),
            ("first\nsecond\tthird\r\n", "first second third"),
            ("a\x00b\x1b[31m\ud800", "ab[31m"),
            ("שלום \u202eגב", "שלום \u202eגב"),  # a language needs these; a page shows them escaped
            ("\U0001f468\u200d\U0001f4bb", "\U0001f468\u200d\U0001f4bb"),
            ("abcdef", "abcd"),
            ("\x00" * 16 + "late", ""),
        ],
    )
    def test_each_character_has_its_rule(self, text: str, line: str) -> None:
        assert clean_line(text, max_chars=4 if line in {"abcd", ""} else 40) == line


class TestTruncate:
    @settings(deadline=None)
    @given(st.text(), st.integers(1, 20))
    def test_a_text_is_whole_or_says_that_it_was_cut(self, text: str, limit: int) -> None:
        short = truncate(text, limit)
        assert len(short) <= limit
        assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))
        assert truncate(short, limit) == short

    def test_the_mark_counts_as_part_of_the_text(self) -> None:
        assert truncate("a" * 11, 10) == "a" * 9 + "…"
        assert truncate("a" * 10, 10) == "a" * 10
        assert truncate("a" * 11, 10, mark=" (cut)") == "aaaa (cut)"


class TestEscapeControls:
    @settings(deadline=None)
    @given(ANY_TEXT)
    def test_any_text_is_printable_and_on_one_line(self, text: str) -> None:
        shown = escape_controls(text)
        shown.encode()
        assert shown.isprintable()
        assert len(shown.splitlines()) <= 1
        assert escape_controls(shown) == shown

    @settings(deadline=None)
    @given(st.text(alphabet=st.characters(exclude_categories=["C", "Z"])))
    def test_what_can_be_seen_stays_as_it_is(self, text: str) -> None:
        assert escape_controls(text) == text

    def test_every_control_character_and_every_one_that_turns_the_direction_is_made_visible(
        self,
    ) -> None:
        for character in map(chr, range(sys.maxunicode + 1)):
            acts = (
                unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
                or unicodedata.bidirectional(character) in TURNING
                or character in TURNING_MARKS
            )
            if acts:
                assert character not in escape_controls(character), hex(ord(character))

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("\x00\x1b[31m\t\n", "␀␛[31m␉␊"),
            ("\x7f\x9b", "\\u007f\\u009b"),
            ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
            ("\u00a0\u2028\u3000", "\\u00a0\\u2028\\u3000"),
            ("\ud800\U000e0001", "\\ud800\\ue0001"),
            ("a b", "a b"),
        ],
    )
    def test_each_character_has_its_rule(self, text: str, shown: str) -> None:
        assert escape_controls(text) == shown

    def test_characters_that_the_caller_keeps_stay(self) -> None:
        assert escape_controls("a\n\tb\r", keep="\n\t") == "a\n\tb␍"


class TestErrorLine:
    def test_it_is_the_first_line_of_the_message(self) -> None:
        assert error_line(OSError("\ndisk full\nDETAIL: more")) == "disk full"

    @pytest.mark.parametrize("error", [MemoryError(), ValueError(""), ValueError(" \n ")])
    def test_an_error_without_a_message_has_its_name(self, error: Exception) -> None:
        assert error_line(error) == type(error).__name__


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 orders"), (1, "1 order"), (2, "2 orders"), (2040, "2,040 orders")],
)
def test_a_count_has_its_noun_in_the_right_number(number: int, words: str) -> None:
    assert pluralize_count(number, "order") == words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0 ms"),
        (0.4, "0 ms"),
        (212.4, "212 ms"),
        (999.4, "999 ms"),
        (999.6, "1 s"),
        (11_800, "11.8 s"),
        (60_000, "60 s"),
        (119_940, "119.9 s"),
        (119_960, "2 min"),
        (3.84e6, "64 min"),
        (7.44e6, "2 h 4 min"),
        (-1500, "-1500 ms"),
    ],
)
def test_a_duration_is_read_at_a_glance(milliseconds: float, words: str) -> None:
    assert duration_text(milliseconds) == words


@settings(deadline=None)
@given(st.floats(0, 1e10))
def test_a_duration_never_shows_a_unit_that_is_full(milliseconds: float) -> None:
    numbers = [float(number) for number in re.findall(r"[\d.]+", duration_text(milliseconds))]
    match re.findall(r"[a-z]+", duration_text(milliseconds)):
        case ["ms"]:
            assert numbers[0] < 1000
        case ["s"] | ["min"]:
            assert 1 <= numbers[0] < 120
        case units:
            assert units == ["h", "min"]
            assert numbers[1] < 60


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "00:00:00"),
        (0, "00:00:00"),
        (59.9, "00:00:59"),
        (8047, "02:14:07"),
        (86_399, "23:59:59"),
        (86_400, "1 d 00:00:00"),
        (180_847, "2 d 02:14:07"),
    ],
)
def test_a_clock_that_counts_up_has_days(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("confirmd", ["Not confirmed", "Confirmed"], ["Confirmed", "Not confirmed"]),
        ("confirmd", ["Confirmed", "Not confirmed"], ["Confirmed", "Not confirmed"]),
        ("confirmd", ["Not sent", "Confirmed, none open"], ["Confirmed, none open"]),
        ("KRAKN", ["KRAKEN/JOHN", "OKX"], ["KRAKEN/JOHN"]),
        ("KRAKN", ["KRAKEN/A", "KRAKEN/B"], ["KRAKEN/A", "KRAKEN/B"]),
        ("olgb", ["Olga Ray (olga)", "Ivo Ross (ivo)"], ["Olga Ray (olga)"]),
        ("zzz", ["Confirmed"], []),
        ("", ["Confirmed"], []),
    ],
)
def test_a_mistyped_name_finds_those_it_may_mean_in_any_order(
    text: str, names: list[str], expected: list[str]
) -> None:
    assert close_names(text, names) == expected


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("BTC", "BTC"),
        ("BTC-USD", "BTC-<wbr>USD"),
        ("COINBASE_SPOT_ADA", "COINBASE_<wbr>SPOT_<wbr>ADA"),
        ("A/B:C.D", "A/<wbr>B:<wbr>C.<wbr>D"),
        ("<b>_&", "&lt;b&gt;_<wbr>&amp;"),
        ("A\u202eB", "A\\u202eB"),
        ("", ""),
    ],
)
def test_an_identifier_breaks_after_its_separators(text: str, html: str) -> None:
    assert break_at_separators(text) == html
